"""What a manifest says of each tensor, against the same in float64."""

from pathlib import Path

import pytest
import torch

from tasks.stores.artefact import Artefact
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import pair, read_tensors, recipe, write_checkpoint


def test_statistics(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    manifest = extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    found = manifest.statistics[0]
    new = read_tensors(aligned.folder())[found.name].double().flatten()
    update = new - read_tensors(sft.folder())[found.name].double().flatten()
    assert found.norm == pytest.approx(float(new.norm()), rel=1e-5)
    assert found.update_norm == pytest.approx(float(update.norm()), rel=1e-5)
    assert found.cosine == pytest.approx(float(new @ update / new.norm() / update.norm()), abs=1e-5)
    assert found.largest_update == pytest.approx(float(update.abs().max()))
    assert found.elements == new.numel()


def test_cosine_of_no_update(tmp_path: Path) -> None:
    """A tensor that training left alone has no angle to its update."""
    same = {"a": torch.ones(8)}
    aligned = write_checkpoint(tmp_path / "aligned", {**same, "b": torch.ones(8)})
    sft = write_checkpoint(tmp_path / "sft", {**same, "b": torch.zeros(8)})
    plan = make_plan(recipe(aligned, sft), aligned, sft)
    manifest = extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    found = {tensor.name: tensor.cosine for tensor in manifest.statistics}
    assert found["a"] == 0
    assert found["b"] == pytest.approx(1)
