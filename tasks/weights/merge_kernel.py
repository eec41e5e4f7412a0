"""Weights plus a low-rank update on the CPU, by the loops of `tasks.weights.merge_loops`."""

import numpy as np
from numpy.typing import NDArray

from tasks.weights.compiled import Array, extrapolate
from tasks.weights.loop_cache import Loop

__all__ = ["add_update", "dora_rows", "low_rank_block", "update_stats"]

# Columns of the right factor that are held in fp64: at rank 64 they fit the second-level cache.
TILE = 512

LOOPS = "tasks.weights.merge_loops"
_low_rank, _add_rows, _stats, _dora = (
    Loop(LOOPS, name) for name in ("low_rank", "add_rows", "stats", "dora")
)


def low_rank_block(
    left: NDArray[np.generic], right: NDArray[np.generic], scale: float, first: int, out: NDArray[np.float32]
) -> None:
    """Writes elements [first, first + len(out)) of scale · left · right, row by row.

    left (rows, rank) and right (rank, columns) are in C order, as STORED.
    """
    tile, total = np.empty((right.shape[0], TILE)), np.empty(TILE)
    _low_rank(left, right, float(scale), first, tile, total, out)


def add_update(update: NDArray[np.float32], sft: Array, alpha: float, out: Array) -> int:
    """Writes θ_sft + (1 + α) · Δ with one rounding; returns how many of it are NaN or Inf."""
    if alpha == -1.0:  # the SFT model's bits: a sum would change the sign of a zero
        return extrapolate(sft, sft, 0.0, "fp32", out)
    return int(_add_rows(update, sft, 1.0 + alpha, out))


def update_stats(update: NDArray[np.float32], sft: Array) -> tuple[float, float, float, float]:
    """As `tasks.weights.compiled.block_stats`, of θ = θ_sft + Δ and Δ."""
    squares, update_squares, product, largest = _stats(update, sft)
    return squares, update_squares, product, float(np.uint32(largest).view(np.float32))


def dora_rows(update: NDArray[np.float32], sft: Array, magnitude: NDArray[np.generic], width: int) -> None:
    """Puts DoRA's aligned weight in the place of its update; all are whole rows, a magnitude for each."""
    _dora(update, sft, magnitude, width)
