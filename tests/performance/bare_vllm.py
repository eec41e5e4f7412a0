"""The peer of the generation stage: `vllm.LLM.generate` on given prompts, and its times as JSON.

Run by tests.performance.generation, in a process of its own, with the same arguments as the engine's.
"""

import json
import os
import sys
import time
from pathlib import Path


def main(path: str) -> None:
    start = time.monotonic()
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from vllm import LLM, SamplingParams, TokensPrompt

    imported = time.monotonic()
    asked = json.loads(Path(path).read_text())
    on_cpu = not torch.cuda.is_available()
    model = LLM(
        asked["model"],
        dtype="bfloat16",
        seed=42,
        enforce_eager=on_cpu,
        enable_chunked_prefill=not on_cpu,
        enable_prefix_caching=False,
    )
    loaded = time.monotonic()
    prompts = [TokensPrompt(prompt_token_ids=ids) for ids in asked["prompts"]]
    sampling = [SamplingParams(**asked["sampling"], seed=42 + i) for i in range(len(prompts))]
    outputs = model.generate(prompts, sampling, use_tqdm=False)
    seconds = time.monotonic() - loaded
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    times = {"import": imported - start, "load": loaded - imported, "seconds": seconds, "tokens": tokens}
    print(json.dumps(times), flush=True)
    os._exit(0)  # taking the model apart is no part of it


if __name__ == "__main__":
    main(sys.argv[1])
