"""Architectures beyond the fourteen families: nothing is matched through a list, so nothing is dropped.

Tiny models of transformers' own classes, saved by transformers: mixtures of experts, models for images and
text, hybrids with linear attention or a state space, one whose head is tied to its embedding, and a LoRA
adapter. What vLLM answers with the same models is in test_reloads.py.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tests.weights.adapters import load, make, save_adapter
from tests.weights.checkpoints import read_tensors, recipe
from tests.zoo.tiny_architectures import ARCHITECTURES, PROCESSORS, write_architecture

ALPHA = 0.5  # exact in fp32, so that float64 gives the same bits


@pytest.fixture(params=ARCHITECTURES)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FolderSource, FolderSource]:
    return write_architecture(tmp_path, request.param)


def exact(new: Tensor, old: Tensor) -> Tensor:
    """The formula in float64, rounded once."""
    return (new.double() + ALPHA * (new.double() - old.double())).to(new.dtype)


def test_every_tensor_is_extrapolated_and_loads(
    sides: tuple[FolderSource, FolderSource], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """No tensor is copied or skipped; transformers misses none, knows all, and computes with them."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    plan = make_plan(recipe(*sides, alpha=ALPHA), *sides)
    assert (plan.copied, plan.skipped, plan.notices) == ((), (), ())
    extrapolate(plan, *sides, Artefact(str(tmp_path / "out")))
    new, old, found = (read_tensors(tmp_path / name) for name in ("aligned", "sft", "out"))
    assert found.keys() == new.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, exact(new[name], old[name])), name
    images = request.node.callspec.params["sides"] in PROCESSORS
    kind = AutoModelForImageTextToText if images else AutoModelForCausalLM
    model, loaded = kind.from_pretrained(tmp_path / "out", output_loading_info=True, dtype="auto")
    assert not any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.isfinite(model.float()(input_ids=torch.arange(5, 15)[None]).logits).all()


def test_an_adapter_is_merged_and_loads(tmp_path: Path) -> None:
    """At α = 0 the merged model computes what peft computes with the adapter on its base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    _, sft = write_architecture(tmp_path, "Qwen3, tied")
    save_adapter(sft.folder(), tmp_path / "adapter")
    logits = {}
    for alpha in (0.0, ALPHA):
        make(tmp_path / "adapter", tmp_path / f"out-{alpha:g}", merge=True, alpha=alpha)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            tmp_path / f"out-{alpha:g}", output_loading_info=True, dtype="auto"
        )
        assert not any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        logits[alpha] = model.float()(input_ids=torch.arange(5, 15)[None]).logits
    with_adapter = PeftModel.from_pretrained(load(sft.folder()).float(), tmp_path / "adapter")
    expected = with_adapter(input_ids=torch.arange(5, 15)[None]).logits
    distance = (logits[0.0] - expected).norm() / expected.norm()
    assert distance < 0.05 < (logits[ALPHA] - expected).norm() / expected.norm()
