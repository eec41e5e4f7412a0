"""Extrapolation and measurement of flat arrays on the CPU, by the loops of `tasks.weights.loops`.

Arrays are flat and hold what the file holds: float32 values, the bits of bf16 as uint16, the
bits of fp16 as int16.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.weights.loop_cache import Loop
from tasks.weights.recipe import Arithmetic

__all__ = ["Array", "block_stats", "extrapolate"]

Array = NDArray[np.uint16] | NDArray[np.int16] | NDArray[np.float32]

LOOPS = "tasks.weights.loops"
_rows, _cast, _block_stats = (Loop(LOOPS, name) for name in ("rows", "cast", "block_stats"))


def extrapolate(aligned: Array, sft: Array, alpha: float, arithmetic: Arithmetic, out: Array) -> int:
    """Writes the extrapolation of `formula.extrapolate_block`; returns how many of it are NaN or Inf."""
    if arithmetic == "parity":
        return int(_rows(aligned, sft, aligned, np.float32(alpha), True, out))
    weight = np.float32(-alpha)
    if weight in (0, 1):
        return int(_cast(sft if weight else aligned, out))
    # lerp starts from the nearer end.
    if abs(weight) < 0.5:
        return int(_rows(aligned, sft, aligned, weight, False, out))
    return int(_rows(aligned, sft, sft, weight - np.float32(1), False, out))


def block_stats(aligned: Array, sft: Array) -> tuple[float, float, float, float]:
    """‖θ‖₂², ‖Δ‖₂², θ·Δ and max |Δ| of θ = θ_aligned and Δ = θ_aligned − θ_sft, in fp32.

    The sums are of rows in fp32, added up in fp64. The last is NaN where Δ has one.
    """
    squares, update_squares, product, largest = _block_stats(aligned, sft)
    return squares, update_squares, product, float(np.uint32(largest).view(np.float32))
