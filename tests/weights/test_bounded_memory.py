"""Memory is a few buffers, whatever the size of the model: measured on a tensor larger than all of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tasks.weights.headers import build_header
from tasks.weights.shard_writer import shard_memory

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

aligned, sft, out = map(Path, sys.argv[1:])
ours, theirs = FolderSource(aligned), FolderSource(sft)
recipes = [Recipe(aligned=ours.checkpoint, sft=theirs.checkpoint, alpha=alpha) for alpha in (0.3, 0.5)]
plans = make_plans(recipes, ours, theirs)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
models = [Artefact(str(out / name)) for name in "ab"]
extrapolate_all(plans, Parents(ours, theirs), models, PassOptions(workers=1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def sparse_checkpoint(folder: Path, last: bytes) -> Path:
    """One tensor of zeros, but for its last element, that takes no room on the disk."""
    folder.mkdir()
    header = build_header([("model.embed_tokens.weight", "BF16", (TENSOR_BYTES // 2000, 1000))])
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + TENSOR_BYTES)
        file.seek(-2, os.SEEK_END)
        file.write(last)
    (folder / "config.json").write_text(json.dumps({}))
    return folder


def test_two_alphas_of_a_large_tensor(tmp_path: Path) -> None:
    """Four such tensors pass through; what is held is less than one."""
    folders = [
        sparse_checkpoint(tmp_path / "aligned", b"\x80\x3f"),
        sparse_checkpoint(tmp_path / "sft", b"\0\0"),
        tmp_path,
    ]
    command = [sys.executable, "-c", CHILD, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in "ab":
        shutil.rmtree(tmp_path / name)
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown < shard_memory(2) + MARGIN < TENSOR_BYTES
