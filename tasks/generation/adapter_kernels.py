"""vLLM's kernels for LoRA on a GPU, set so that the same batch gets the same answers each time.

By vLLM 0.32's own choice the first of an adapter's two products is summed in up to 64 parts, which are added
in the order in which they happen to end: two runs differ in the last bits, and soon in tokens. A file of
kernel settings, which vLLM looks for by the GPU's name, has one part.
"""

import json
import os
import re
from pathlib import Path

__all__ = ["order_sums"]

FOLDER = "VLLM_TUNED_CONFIG_FOLDER"
SLICES = range(1, 9)  # of fused layers: q, k and v are three
# Settings by the number of tokens; but for the parts they are vLLM's own: up to 127 tokens, and above.
BLOCK_K = {"1": 256, "255": 32}
SHRINK = {
    "block_m": 32,
    "block_n": 16,
    "split_k": 1,
    "num_warps": 4,
    "num_ctas": 1,
    "group_size_m": 8,
    "num_stages": 2,
    "max_nreg": None,
}


def order_sums(folder: Path) -> None:
    """Writes the settings, and has this process and its workers use them, unless the user has others.

    To be called before a model is loaded.
    """
    if FOLDER in os.environ:
        return
    from vllm.platforms import current_platform

    name = re.sub("[ -]", "_", current_platform.get_device_name())
    # by the number of adapters, slices, tokens, the inputs' width and the rank; vLLM takes the nearest
    by_tokens = {tokens: {"1": {"1": SHRINK | {"block_k": block}}} for tokens, block in BLOCK_K.items()}
    content = {"1": {str(slices): by_tokens for slices in SLICES}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_SHRINK.json").write_text(json.dumps(content))
    os.environ[FOLDER] = str(folder)
