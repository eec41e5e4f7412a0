"""Pairs of small checkpoints by their tensors: written, planned, extrapolated, refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import InputError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import Tensors, read_tensors, recipe, write_checkpoint

__all__ = ["ALPHA", "EMBEDDING", "HEAD", "NAMES", "expected", "plan_of", "refusal", "run", "tensors", "write"]


EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
NAMES = (
    EMBEDDING,
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
    "model.norm.weight",
)
ALPHA = 0.3


def tensors(*names: str, rows: int = 4, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, 6, generator=generator).bfloat16() for name in names}


def write(folder: Path, content: Tensors, **config: object) -> FolderSource:
    write_checkpoint(folder, content)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]} | config))
    return FolderSource(folder)


def plan_of(folder: Path, new: Tensors, old: Tensors, **settings: object) -> Plan:
    aligned, sft = write(folder / "aligned", new), write(folder / "sft", old)
    return make_plan(recipe(aligned, sft, **settings), aligned, sft)


def run(plan: Plan, folder: Path) -> dict[str, Tensor]:
    aligned, sft = (FolderSource(Path(side.uri)) for side in (plan.recipe.aligned, plan.recipe.sft))
    extrapolate(plan, aligned, sft, Artefact(str(folder / "out")))
    return read_tensors(folder / "out")


def expected(new: Tensor, old: Tensor) -> Tensor:
    """The formula in float64, rounded once."""
    exact = new.double() + ALPHA * (new.double() - old.double())
    return exact.to(new.dtype)


def refusal(folder: Path, new: Tensors, old: Tensors, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        plan_of(folder, new, old, **settings)
    assert len(str(caught.value).splitlines()) <= 20
    return str(caught.value)
