"""The generation stage against a bare `vllm.LLM.generate` on the same prompts and settings.

    python -m tests.performance.generation [--prompts 400] [--tokens 128] [--rounds 3] [--gigabytes 1]
                                           [--hidden 256] [--layers 4] [--batches 256]

Prints, as medians over rotated rounds: answer tokens a second beyond start-up (from the first
prompt handed to the model until the call returns, so with the journal, the counting and the end of
the process) and their ratio; how long importing vLLM and loading the model take; what is left of
the engine after the stage; and what an extrapolation beside the generation of the original arm takes
in all, against the longer of the two. The model is a random Llama, of about four million parameters unless
--hidden and --layers say otherwise. --batches are the stage's `batch_size`s, each measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tasks.generation.answer_journal import journal_file
from tasks.generation.process import generate
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.performance.synthetic import make_pair

__all__ = ["Rate", "main", "measure"]

ENGINE = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class Rate(NamedTuple):
    """Answer tokens, and the seconds beyond start-up that they took."""

    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def main() -> None:
    """Prints the figures."""
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bare, stage = measure(folder, options)
        _show_throughput(bare, stage)
        _show_what_is_left()
        _show_overlap(_job(folder, options), folder, options.gigabytes)


def measure(folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[int, list[Rate]]]:
    """The rounds of bare vLLM (see tests.performance.bare_vllm), and the stage's by batch size, in turn."""
    job = _job(folder, options)
    prompts = _prompts(job)
    bare: list[dict[str, Any]] = []
    stage: dict[int, list[Rate]] = {size: [] for size in options.batches}
    ways: list[int | None] = [None, *options.batches]
    for number in range(options.rounds):
        for size in ways if number % 2 == 0 else ways[::-1]:
            if size is None:
                bare.append(_bare(job, prompts))
                print(f"bare vLLM: {bare[-1]}", file=sys.stderr)
            else:
                settings = job.settings.model_copy(update={"batch_size": size})
                stage[size].append(_stage(job.model_copy(update={"settings": settings})))
                print(f"stage, batches of {size}: {stage[size][-1]}", file=sys.stderr)
    return bare, stage


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.performance.generation")
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of each checkpoint of the overlap")
    parser.add_argument("--hidden", type=int, default=256, help="a multiple of 128")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[256])
    return parser.parse_args()


def _job(folder: Path, options: argparse.Namespace) -> GenerationJob:
    instructions = folder / "instructions.json"
    texts = [
        f"Write {3 + i % 17} sentences about the number {i}. " * (1 + i % 5) for i in range(options.prompts)
    ]
    instructions.write_text(json.dumps([{"instruction": text} for text in texts]))
    return GenerationJob(
        model=str(_model(folder / "model", options.hidden, options.layers)),
        instructions=str(instructions),
        output=str(folder / "answers"),
        settings=GenerationSettings(sampling=Sampling(max_tokens=options.tokens)),
        generator="benchmark",
        benchmark="alpaca_eval",
        form="instructions",
    )


def _model(folder: Path, hidden: int, layers: int) -> Path:
    if folder.is_dir():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.zoo.templates import LLAMA3
    from tests.zoo.vocabulary import ids_of, tokenizer_files, tokenizer_of

    torch.manual_seed(0)
    begin, end = ids_of("llama3", ("<|begin_of_text|>", "<|eot_id|>"))
    config = LlamaConfig(
        vocab_size=tokenizer_of("llama3").get_vocab_size(),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        bos_token_id=begin,
        eos_token_id=end,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    for name, content in tokenizer_files("llama3", "<|eot_id|>", LLAMA3).items():
        (folder / name).write_bytes(content)
    return folder


def _prompts(job: GenerationJob) -> list[tuple[int, ...]]:
    from transformers import AutoTokenizer

    from tasks.generation.prompts import render_prompts

    texts = [item["instruction"] for item in json.loads(Path(job.instructions).read_text())]
    return [*render_prompts(AutoTokenizer.from_pretrained(job.model), texts, job.settings).token_ids]


def _bare(job: GenerationJob, prompts: list[tuple[int, ...]]) -> dict[str, Any]:
    asked = Path(job.output).with_name("asked.json")
    sampling = job.settings.sampling.model_dump(exclude={"seed"})
    asked.write_text(json.dumps({"model": job.model, "prompts": prompts, "sampling": sampling}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.performance.bare_vllm", str(asked)],
        env=os.environ | ENGINE,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    times: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return times


def _stage(job: GenerationJob) -> Rate:
    """The stage from nothing. Its first batch began so long before its last answer on_progress as it took."""
    fresh = job.model_copy(update={"output": tempfile.mkdtemp(dir=Path(job.output).parent)})
    landings: list[tuple[float, int]] = []
    total = 0

    def advance(count: int) -> None:
        nonlocal total
        total += count
        landings.append((time.monotonic(), total))

    (summary,) = generate([fresh], advance=advance)
    end = time.monotonic()
    lines = (Path(fresh.output) / journal_file(0)).read_text().splitlines()
    first = json.loads(lines[1])
    on_progress = next(when for when, count in landings if count >= len(first["answers"]))
    tokens = round(summary.mean_tokens * summary.count)
    return Rate(tokens, end - (on_progress - first["seconds"]))


def _show_throughput(bare: list[dict[str, Any]], stage: dict[int, list[Rate]]) -> None:
    rates = [run["tokens"] / run["seconds"] for run in bare]
    tokens = {run["tokens"] for run in bare} | {run.tokens for runs in stage.values() for run in runs}
    print(
        f"answer tokens                 {', '.join(map(str, sorted(tokens)))} (one number: the same answers)"
    )
    print(f"import of vLLM                {median(run['import'] for run in bare):8.1f} s")
    print(f"loading of the model          {median(run['load'] for run in bare):8.1f} s")
    print(f"bare vllm.LLM.generate        {median(rates):8.0f} tokens/s   {_spread(rates)}")
    for size, runs in stage.items():
        stage_rates = [run.tokens_per_second for run in runs]
        print(
            f"stage, batches of {size:<5d}       {median(stage_rates):8.0f} tokens/s   {_spread(stage_rates)}"
        )
        ratio = median(stage_rates) / median(rates)
        print(f"stage / bare                  {ratio:8.2f}            goal: 0.95 and more")


def _spread(values: list[float]) -> str:
    return f"({min(values):.0f} to {max(values):.0f} in {len(values)} rounds)"


def _show_what_is_left() -> None:
    """Processes of this one that are left; on a GPU also the memory in use."""
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    left = own.read_text().split() if own.is_file() else []
    print(f"processes left of the engine  {len(left):8d}")
    if Path("/dev/nvidiactl").exists():
        query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"]
        used = subprocess.run(query, capture_output=True, text=True).stdout.strip()
        print(f"GPU memory in use             {used or 'none'}")


def _show_overlap(job: GenerationJob, folder: Path, gigabytes: float) -> None:
    """The original's answers while the shards are written, against one after the other."""
    aligned, sft = (FolderSource(path) for path in make_pair(folder, gigabytes))
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    plan = make_plan(recipe, aligned, sft)

    def write(name: str) -> float:
        start = time.monotonic()
        extrapolate(plan, aligned, sft, Artefact(str(folder / name)))
        return time.monotonic() - start

    start = time.monotonic()
    _stage(job)
    alone = time.monotonic() - start
    writing = write("alone")
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for future in (pool.submit(_stage, job), pool.submit(write, "beside")):
            future.result()
    together = time.monotonic() - start
    longer = max(alone, writing)
    print(f"generation, extrapolation     {alone:8.1f} s, {writing:.1f} s one after the other")
    print(f"both at once                  {together:8.1f} s: {together / longer:.2f} × the longer of the two")


if __name__ == "__main__":
    main()
