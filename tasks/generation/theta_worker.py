"""The workers' side of new weights: each computes θ(α) from both parents and keeps its part.

vLLM adds `ThetaWorker` to the class of its workers (`worker_extension_cls`), be it the one in the engine's
process or one for each GPU, and calls its method in all of them (`collective_rpc`). Every worker streams
the whole of θ(α), of which vLLM's loaders take what its rank or stage has; all but the first find the
parents in the page cache.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import errors
from tasks.core.errors import ExpoError
from tasks.core.values import Value, canonical_json
from tasks.stores.folder_source import FolderSource
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from tasks.weights.theta import ThetaStream

__all__ = ["EXTENSION", "ThetaOrder", "ThetaReply", "ThetaWorker", "nonfinite_of"]

EXTENSION = "tasks.generation.theta_worker.ThetaWorker"


class ThetaOrder(Value):
    """New weights: the folders of both parents, and the recipe of θ(α) over them."""

    aligned: str
    sft: str
    recipe: Recipe


class ThetaReply(Value):
    """What a worker says when it has them.

    nonfinite  NaN and Inf in the whole of θ(α)
    error      the name of an error of this project's tree, with its message; empty: none
    """

    nonfinite: int = 0
    error: str = ""
    message: str = ""


class ThetaWorker:
    """Extends vLLM's worker class."""

    # vLLM's own
    reload_weights: Callable[..., None]
    get_model: Callable[[], "Module"]

    def load_theta(self, order: str) -> str:
        """Loads new weights, by their names in the checkpoint.

        An error of this project's is an answer and not raised: vLLM would make a RuntimeError of it, and
        leave the other workers' answers unread.

        Args:
            order: a ThetaOrder as JSON, which vLLM can send to any process.

        Returns:
            A ThetaReply as JSON.
        """
        # Only once vLLM is up: on a CPU it looks through every imported module as it starts, and
        # fails on llvmlite, which the compiled loops need (0.32.0).
        from tasks.weights.theta import ThetaStream

        wanted = ThetaOrder.model_validate_json(order)
        try:
            aligned, sft = FolderSource(Path(wanted.aligned)), FolderSource(Path(wanted.sft))
            stream = ThetaStream(make_plan(wanted.recipe, aligned, sft), aligned, sft)
            self.reload_weights(weights_iterator=_named_tensors(stream))
            _pack_tied_layers(self.get_model())
            reply = ThetaReply(nonfinite=stream.nonfinite)
        except ExpoError as error:
            reply = ThetaReply(error=type(error).__name__, message=str(error))
        return canonical_json(reply).decode()


def nonfinite_of(replies: list[str]) -> int:
    """NaN and Inf in θ(α), of all workers' replies.

    Raises:
        ExpoError: what the first worker that failed met with.
    """
    read = [ThetaReply.model_validate_json(reply) for reply in replies]
    for reply in read:
        if reply.error:
            kind: type[ExpoError] = getattr(errors, reply.error)
            raise kind(reply.message)
    return max(reply.nonfinite for reply in read)


def _named_tensors(stream: "ThetaStream") -> "Iterator[tuple[str, Tensor]]":
    import torch

    from tasks.weights.formula import DTYPES

    for tensor in stream:
        yield tensor.name, torch.from_numpy(tensor.data).view(DTYPES[tensor.dtype]).reshape(tensor.shape)


def _pack_tied_layers(model: "Module") -> None:
    """Has layers that share a weight multiply by the new one.

    On a CPU vLLM 0.32 multiplies by a packed copy, and a reload packs where it has loaded a weight. No
    checkpoint has one of an output layer that is tied to the embedding, which kept the old copy.
    """
    layer: Any  # vLLM's
    sharing: dict[int, list[Any]] = defaultdict(list)
    for layer in model.modules():
        if hasattr(layer, "cpu_linear") and layer.weight.numel():
            sharing[layer.weight.data_ptr()].append(layer)
    for layers in sharing.values():
        for layer in layers if len(layers) > 1 else ():
            layer.quant_method.process_weights_after_loading(layer)
