"""Experts that one side stores in one tensor and the other one by one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.stores.folder_source import FolderSource
from tasks.stores.open import reopen
from tasks.weights import shard_writer
from tasks.weights.verify import verify
from tests.weights.checkpoints import Tensors
from tests.weights.pairs import expected, plan_of, refusal, run

EXPERTS, WIDTH, HIDDEN = 3, 4, 6
STEM = "model.layers.0.mlp.experts"


def one_by_one(seed: int, names: tuple[str, str, str]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH))
    return {
        f"{STEM}.{expert}.{name}.weight": torch.randn(shape, generator=generator).bfloat16()
        for expert in range(EXPERTS)
        for name, shape in zip(names, shapes, strict=True)
    }


def fused(experts: Tensors, names: tuple[str, str, str]) -> dict[str, Tensor]:
    gate, up, down = (
        [experts[f"{STEM}.{expert}.{name}.weight"] for expert in range(EXPERTS)] for name in names
    )
    both = [torch.cat(pair) for pair in zip(gate, up, strict=True)]
    return {f"{STEM}.gate_up_proj": torch.stack(both), f"{STEM}.down_proj": torch.stack(down)}


@pytest.mark.parametrize("names", [("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")])
def test_experts_fused_on_the_sft_side(tmp_path: Path, names: tuple[str, str, str]) -> None:
    new, old = one_by_one(1, names), one_by_one(2, names)
    plan = plan_of(tmp_path, new, fused(old, names))
    assert plan.notices == ("9 experts are stored one by one on the aligned side, together on the SFT side",)
    found = run(plan, tmp_path)
    for name, tensor in new.items():
        assert torch.equal(found[name], expected(tensor, old[name])), name


@pytest.mark.parametrize("names", [("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")])
@pytest.mark.parametrize("stem", [STEM, STEM.replace(".mlp.", ".block_sparse_moe.")])
def test_experts_fused_on_the_aligned_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str, str], stem: str
) -> None:
    """The output is fused as the aligned side is; slots of 64 bytes end within experts."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 64)
    new, old = fused(one_by_one(1, names), names), one_by_one(2, names)
    single = {name.replace(STEM, stem): tensor for name, tensor in old.items()}
    plan = plan_of(tmp_path, new, single)
    (notice,) = plan.notices
    assert notice.startswith("2 tensors of experts are stored together on the aligned side")
    assert not plan.skipped
    found = run(plan, tmp_path)
    assert found.keys() == new.keys()
    for name, tensor in fused(old, names).items():
        assert torch.equal(found[name], expected(new[name], tensor)), name
    assert not verify(FolderSource(tmp_path / "out"), reopen, "all").differences


def test_experts_of_another_number_are_refused(tmp_path: Path) -> None:
    names = ("w1", "w3", "w2")
    old = {name: tensor for name, tensor in one_by_one(2, names).items() if ".experts.2." not in name}
    message = refusal(tmp_path, fused(one_by_one(1, names), names), old)
    assert "stored together on the aligned side, one by one on the SFT side" in message


def test_fp8_experts_one_by_one_against_fused(tmp_path: Path) -> None:
    """Each part has a scale of its own."""
    names = ("gate_proj", "up_proj", "down_proj")
    new, old = fused(one_by_one(1, names), names), one_by_one(2, names)
    scales = {f"{name}_scale": torch.tensor(0.25 + number / 8) for number, name in enumerate(old)}
    small = {
        name: (tensor.float() / scales[f"{name}_scale"]).to(torch.float8_e4m3fn)
        for name, tensor in old.items()
    }
    found = run(plan_of(tmp_path, new, small | scales, dequantize=True), tmp_path)
    exact = {name: tensor.double() * scales[f"{name}_scale"].double() for name, tensor in small.items()}
    for name, tensor in fused(exact, names).items():
        assert torch.equal(found[name], expected(new[name], tensor)), name
