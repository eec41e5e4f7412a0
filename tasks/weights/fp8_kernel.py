"""fp8 to fp32 by a grid of scales, by the loop of `tasks.weights.fp8_loops`."""

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tasks.weights.loop_cache import Loop

__all__ = ["dequantize"]

# Every value of float8_e4m3fn by its bits: all are exact in fp32.
_VALUES = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
_dequantize = Loop("tasks.weights.fp8_loops", "dequantize")


def dequantize(
    raw: NDArray[np.uint8],
    first: int,
    width: int,
    grid: NDArray[np.float32],
    block: tuple[int, int],
    out: NDArray[np.float32],
) -> None:
    """Writes fp32(element) · scale of the elements [first, first + len(raw)) of a matrix `width` wide.

    grid   (rows, columns) of scales, one for each block of the matrix
    """
    _dequantize(raw, first, width, grid, block[0], block[1], _VALUES, out)
