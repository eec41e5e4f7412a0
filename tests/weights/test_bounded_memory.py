"""Memory is a few buffers, whatever the size of the model: measured on a tensor larger than all of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.weights.headers import build_header
from tasks.weights.pass_options import THREADS
from tasks.weights.shard_writer import SLOT_BYTES, shard_memory

ROOT = Path(__file__).parents[2]
TENSOR_BYTES = 250_000_000
# What one thread's stack, the allocator and PyTorch's first operations take beside the buffers.
MARGIN = 100_000_000

CHILD = """
import json, resource, sys
from pathlib import Path
import torch
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate_all
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.planner import make_plans
from tasks.weights.recipe import Recipe
import tasks.weights.fp8_worker, tasks.weights.worker  # the libraries, which are no buffers

aligned, sft, out = map(Path, sys.argv[1:4])
sides = Parents(FolderSource(aligned), FolderSource(sft))
recipe = Recipe(
    aligned=sides.aligned.checkpoint, sft=sides.sft.checkpoint, alpha=0.3, dequantize="fp8" in sys.argv
)
plans = make_plans([recipe, recipe.model_copy(update={"alpha": 0.5})], *sides)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
models = [Artefact(str(out / name)) for name in "ab"]
extrapolate_all(plans, sides, models, PassOptions(workers=1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def sparse_checkpoint(folder: Path, last: bytes, dtype: str = "BF16") -> Path:
    """One tensor of zeros, but for its last element, that takes no room on the disk; fp8 has a scale."""
    folder.mkdir()
    rows = TENSOR_BYTES // len(last) // 1000
    scale = [("model.embed_tokens.weight_scale", "F32", ())] if dtype == "F8_E4M3" else []
    header = build_header([*scale, ("model.embed_tokens.weight", dtype, (rows, 1000))])
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header + (b"\0\0\x80\x3f" if scale else b""))
        file.truncate(file.tell() + TENSOR_BYTES)
        file.seek(-len(last), os.SEEK_END)
        file.write(last)
    (folder / "config.json").write_text(json.dumps({}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_two_alphas_of_a_large_tensor(tmp_path: Path, dtype: str) -> None:
    """Four such tensors pass through; what is held is less than one. fp8 is dequantized meanwhile."""
    unit, zero = (b"\x80\x3f", b"\0\0") if dtype == "BF16" else (b"\x38", b"\0")
    folders = [
        sparse_checkpoint(tmp_path / "aligned", unit, dtype),
        sparse_checkpoint(tmp_path / "sft", zero, dtype),
        tmp_path,
    ]
    command = [sys.executable, "-c", CHILD, *map(str, folders), *(["fp8"] if dtype == "F8_E4M3" else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in "ab":
        shutil.rmtree(tmp_path / name)
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown < shard_memory(2) + THREADS * SLOT_BYTES // 2 + MARGIN < TENSOR_BYTES
