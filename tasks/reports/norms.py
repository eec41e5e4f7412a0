"""How far alignment training moved the tensors, and so extrapolation moves them: by layer and module."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tasks.stats.paired import FiniteValue
from tasks.weights.modules import LAYER

__all__ = ["NormTable", "TensorNorm", "layer_and_module", "norm_table"]

PARAMETER = re.compile(r"\.(weight|bias)$")


class TensorNorm(FiniteValue):
    """How far training, and so extrapolation, moved one tensor: L2 norms of θ_1 and of θ_1 − θ_0.

    Both are finite: leave out a tensor that holds NaN or Inf.
    """

    name: str
    aligned: float
    delta: float

    @property
    def relative(self) -> float:
        """‖Δ‖ / ‖θ_1‖, zero for a tensor of zeros."""
        return self.delta / self.aligned if self.aligned else 0.0


class NormTable(NamedTuple):
    """Relative norms: for each module one number (or None) for each of `layers`; `others` by tensor."""

    layers: list[int]
    modules: dict[str, list[float | None]]
    largest: float
    others: dict[str, float]


def layer_and_module(tensor: str) -> tuple[int, str] | None:
    """The layer's number and the module's name of a weight matrix, None for a tensor of no layer.

    `model.layers.3.self_attn.q_proj.weight` gives (3, "self_attn.q_proj").
    """
    match = LAYER.search(tensor)
    return (int(match["number"]), PARAMETER.sub("", tensor[match.end() :])) if match else None


def norm_table(norms: Sequence[TensorNorm]) -> NormTable:
    """‖Δ‖ / ‖θ_1‖ by module and layer; tensors outside the layers by themselves."""
    by_place = {place: norm.relative for norm in norms if (place := layer_and_module(norm.name))}
    layers = sorted({layer for layer, _ in by_place})
    modules = dict.fromkeys(module for _, module in by_place)
    return NormTable(
        layers=layers,
        modules={module: [by_place.get((layer, module)) for layer in layers] for module in modules},
        largest=max(by_place.values(), default=0.0),
        others={norm.name: norm.relative for norm in norms if layer_and_module(norm.name) is None},
    )
