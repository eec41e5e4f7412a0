"""Extrapolation and measurement of one piece on the CPU, and what a kernel is."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tasks.weights.compiled import Array, block_stats, extrapolate
from tasks.weights.recipe import Arithmetic

__all__ = ["STORED", "BlockStats", "CpuKernel", "Kernel"]

# How kernels are handed the items of a dtype: numpy knows no bf16, numba on the CPU no fp16.
STORED: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype(np.uint16),
    "F16": np.dtype(np.int16),
    "F32": np.dtype(np.float32),
}


class BlockStats(NamedTuple):
    """Figures of a piece, of θ = θ_aligned and Δ = θ_aligned − θ_sft, each in fp32.

    squares, update_squares  ‖θ‖₂² and ‖Δ‖₂²
    product                  θ·Δ
    largest                  max |Δ|, NaN where Δ has one
    nonfinite                number of NaN and Inf in the output, for each α
    """

    squares: float
    update_squares: float
    product: float
    largest: float
    nonfinite: tuple[int, ...]


class Kernel(Protocol):
    """Computes a piece at every α of a pass."""

    def run(self, aligned: Array, sft: Array, alphas: Sequence[float], outs: Sequence[Array]) -> BlockStats:
        """Writes one output for each α; all arrays are flat, of equal length, as STORED."""


class CpuKernel:
    """The compiled loops, in the thread that calls."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic: Arithmetic = arithmetic

    def run(self, aligned: Array, sft: Array, alphas: Sequence[float], outs: Sequence[Array]) -> BlockStats:
        """See `Kernel`."""
        nonfinite = tuple(
            extrapolate(aligned, sft, alpha, self._arithmetic, out)
            for alpha, out in zip(alphas, outs, strict=True)
        )
        return BlockStats(*block_stats(aligned, sft), nonfinite)
