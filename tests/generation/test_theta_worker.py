"""What one worker loads, and what its engine learns of it; vLLM's part is a dictionary and two layers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import Module, Parameter

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import canonical_json
from tasks.generation.theta_worker import ThetaOrder, ThetaReply, ThetaWorker, nonfinite_of
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.weights.checkpoints import pair, read_tensors, recipe, write_checkpoint


class _Packing:
    """What vLLM on a CPU does of a layer's weight: a copy, by which the layer multiplies from then on."""

    def process_weights_after_loading(self, layer: "_Layer") -> None:
        packed = layer.weight.detach().clone()
        layer.cpu_linear = lambda given: given @ packed.T


class _Layer(Module):
    cpu_linear: Callable[[Tensor], Tensor]

    def __init__(self, weight: Parameter) -> None:
        super().__init__()
        self.weight, self.quant_method = weight, _Packing()
        self.quant_method.process_weights_after_loading(self)


class _Tied(Module):
    """A model whose output layer has the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        weight = Parameter(torch.zeros(8, 4), requires_grad=False)
        self.embed, self.head = _Layer(weight), _Layer(weight)


class _Worker(ThetaWorker):
    """It keeps the tensors that vLLM's worker would load, and gives one to its model's embedding."""

    def __init__(self) -> None:
        self.loaded: dict[str, Tensor] = {}
        self.model = _Tied()
        self.reload_weights = self._keep
        self.get_model = lambda: self.model

    def _keep(self, weights_iterator: Iterator[tuple[str, Tensor]]) -> None:
        self.loaded = dict(weights_iterator)
        if (new := self.loaded.get("embed.weight")) is not None:
            self.model.embed.weight.copy_(new)


def _order(settings: Recipe, aligned: FolderSource, sft: FolderSource) -> str:
    order = ThetaOrder(aligned=str(aligned.folder()), sft=str(sft.folder()), recipe=settings)
    return canonical_json(order).decode()


def test_every_worker_streams_the_model_that_is_written(tmp_path: Path) -> None:
    settings, aligned, sft = pair(tmp_path, alpha=0.7)
    extrapolate(make_plan(settings, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    written = read_tensors(tmp_path / "out")
    workers = _Worker(), _Worker()
    assert nonfinite_of([worker.load_theta(_order(settings, aligned, sft)) for worker in workers]) == 0
    for worker in workers:
        assert worker.loaded.keys() == written.keys()
        assert all(torch.equal(worker.loaded[name], tensor) for name, tensor in written.items())


def test_a_layer_that_is_tied_to_the_embedding_multiplies_by_the_new_weight(tmp_path: Path) -> None:
    new = torch.arange(32.0).reshape(8, 4)
    aligned = write_checkpoint(tmp_path / "aligned", {"embed.weight": new})
    sft = write_checkpoint(tmp_path / "sft", {"embed.weight": new - 1})
    worker = _Worker()
    assert nonfinite_of([worker.load_theta(_order(recipe(aligned, sft, alpha=2.0), aligned, sft))]) == 0
    given = torch.eye(4)
    assert torch.equal(worker.model.head.cpu_linear(given), (new + 2).T)


def test_nan_and_inf_are_counted_once_for_all_workers(tmp_path: Path) -> None:
    new = torch.tensor([1.0, float("nan"), float("inf"), 2.0]).bfloat16()
    aligned = write_checkpoint(tmp_path / "aligned", {"layers.0.weight": new})
    sft = write_checkpoint(tmp_path / "sft", {"layers.0.weight": torch.zeros(4).bfloat16()})
    order = _order(recipe(aligned, sft, alpha=0.5), aligned, sft)
    assert nonfinite_of([_Worker().load_theta(order), _Worker().load_theta(order)]) == 2


def test_an_error_in_a_worker_keeps_its_class(tmp_path: Path) -> None:
    """A parent that is cut off while the engine runs; and a folder that is gone."""
    settings, aligned, sft = pair(tmp_path)
    order = _order(settings, aligned, sft)
    (shard,) = tmp_path.glob("sft/model-00002-of-00002.safetensors")
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CorruptError, match="model-00002-of-00002"):
        nonfinite_of([canonical_json(ThetaReply()).decode(), _Worker().load_theta(order)])
    with pytest.raises(InputError, match="no such folder"):
        nonfinite_of([_Worker().load_theta(order.replace(str(sft.folder()), str(tmp_path / "gone")))])
