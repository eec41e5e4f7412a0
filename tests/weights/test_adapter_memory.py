"""A merge holds buffers and two tensors' factors, whatever the size of the model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.weights.headers import build_header
from tasks.weights.shard_writer import shard_memory

ROWS, COLUMNS, RANK = 30_000, 4096, 8
TENSOR_BYTES = ROWS * COLUMNS * 2
# What numba, one thread's stack and the allocator take beside the buffers.
MARGIN = 120_000_000

CHILD = """
import resource, sys
from pathlib import Path
from tasks.stores.artefact import Artefact
from tasks.weights import merge_worker
from tasks.weights.adapter_base import open_parents
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

parents = open_parents(sys.argv[1], None)
recipe = Recipe(aligned=parents.aligned.checkpoint, sft=parents.sft.checkpoint, alpha=0.5, adapter="merge")
plan = make_plan(recipe, *parents)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
extrapolate(plan, *parents, Artefact(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_large_tensor(tmp_path: Path) -> None:
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(2)]
    header = build_header([(name, "BF16", (ROWS, COLUMNS)) for name in names])
    (tmp_path / "sft").mkdir()
    with (tmp_path / "sft" / "model.safetensors").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + len(names) * TENSOR_BYTES)
    (tmp_path / "sft" / "config.json").write_text("{}")
    (tmp_path / "adapter").mkdir()
    random = np.random.default_rng(1)
    factors = {}
    for name in names:
        module = f"base_model.model.{name.removesuffix('.weight')}"
        factors[f"{module}.lora_A.weight"] = random.standard_normal((RANK, COLUMNS), np.float32)
        factors[f"{module}.lora_B.weight"] = random.standard_normal((ROWS, RANK), np.float32)
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "base_model_name_or_path": str(tmp_path / "sft")}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "adapter"), str(tmp_path / "out")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    pair = (ROWS + COLUMNS) * RANK * 4
    assert grown < shard_memory(1) + 3 * pair + MARGIN < len(names) * TENSOR_BYTES
