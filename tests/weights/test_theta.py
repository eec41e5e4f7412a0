"""θ(α) in memory against the files that a pass writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights import theta
from tasks.weights.extrapolation import extrapolate
from tasks.weights.formula import DTYPES
from tasks.weights.planner import make_plan
from tasks.weights.theta import ThetaStream, ThetaTensor
from tests.weights.adapters import save_adapter
from tests.weights.checkpoints import pair, read_tensors, recipe, write_checkpoint
from tests.weights.models import save_llama


def _as_torch(tensor: ThetaTensor) -> torch.Tensor:
    return torch.from_numpy(tensor.data).view(DTYPES[tensor.dtype]).reshape(tensor.shape)


@pytest.mark.parametrize("alpha", [0.3, -0.4, 0.0, 8.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_tensors_equal_the_written_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: float, threads: int
) -> None:
    monkeypatch.setattr(theta, "PIECE_BYTES", 512)  # so that a tensor has several pieces
    settings, aligned, sft = pair(tmp_path, alpha=alpha)
    plan = make_plan(settings, aligned, sft)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    written = read_tensors(tmp_path / "out")
    streamed = {tensor.name: _as_torch(tensor) for tensor in ThetaStream(plan, aligned, sft, threads)}
    assert streamed.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(streamed[name].view(torch.int16), tensor.view(torch.int16))


def test_a_model_of_transformers_in_two_dtypes(tmp_path: Path) -> None:
    save_llama(tmp_path / "aligned", 1)
    save_llama(tmp_path / "sft", 2, torch.float32)
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    plan = make_plan(recipe(aligned, sft, alpha=0.7), aligned, sft)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    written = read_tensors(tmp_path / "out")
    for tensor in ThetaStream(plan, aligned, sft):
        assert torch.equal(_as_torch(tensor), written[tensor.name])


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_an_adapter_is_merged_as_into_files(tmp_path: Path, settings: dict[str, Any]) -> None:
    save_llama(tmp_path / "sft", 1, torch.float32, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", **settings)
    adapter, sft = FolderSource(tmp_path / "adapter"), FolderSource(tmp_path / "sft")
    plan = make_plan(recipe(adapter, sft, alpha=0.7).model_copy(update={"adapter": "merge"}), adapter, sft)
    extrapolate(plan, adapter, sft, Artefact(str(tmp_path / "out")))
    written = read_tensors(tmp_path / "out")
    streamed = {tensor.name: _as_torch(tensor) for tensor in ThetaStream(plan, adapter, sft)}
    assert streamed.keys() == written.keys()
    assert all(torch.equal(tensor, written[name]) for name, tensor in streamed.items())


def test_the_caller_may_keep_every_tensor(tmp_path: Path) -> None:
    settings, aligned, sft = pair(tmp_path)
    tensors = [*ThetaStream(make_plan(settings, aligned, sft), aligned, sft)]
    begins = {tensor.data.__array_interface__["data"][0] for tensor in tensors}
    assert len(begins) == len(tensors) == 4


def test_nonfinite_weights_are_counted(tmp_path: Path) -> None:
    huge = {"weight": torch.full((10,), 3e38).bfloat16()}
    aligned = write_checkpoint(tmp_path / "aligned", huge)
    sft = write_checkpoint(tmp_path / "sft", {"weight": torch.zeros(10).bfloat16()})
    for alpha, count in ((0.0, 0), (1.0, 10)):
        stream = ThetaStream(make_plan(recipe(aligned, sft, alpha=alpha), aligned, sft), aligned, sft)
        assert np.isfinite(_as_torch(next(iter(stream))).float().numpy()).all() == (count == 0)
        assert stream.nonfinite == count
