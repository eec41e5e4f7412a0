"""θ_expo element by element, in numpy: the reference for the formula and the compiled loops.

`expo verify` computes with it, so it shares nothing with the program that wrote the model: no
compiled loop, no torch. No operation here depends on where in a vector an element stands:
additions, multiplications and casts of IEEE 754 alone (bf16's are those of ml_dtypes), and a
fused multiply-add that is made of them.
"""

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tasks.weights.options import Arithmetic

__all__ = [
    "NUMPY_DTYPES",
    "dequantize_reference",
    "equal_values",
    "extrapolate_reference",
    "fused_multiply_add",
]

BLOCK = 1 << 16
"""Elements that are computed at a time: what the processor's cache holds."""

Values = NDArray[Any]
Floats = NDArray[np.float32]

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
}


def extrapolate_reference(
    aligned: Values, sft: Values, alpha: float, arithmetic: Arithmetic, dtype: str
) -> Values:
    """The extrapolation of two flat arrays (bf16, fp16 or fp32 each): `formula.extrapolate_block` defines it.

    dtype   of the result, in the words of safetensors: "BF16", "F16" or "F32"
    """
    out = np.empty(len(aligned), NUMPY_DTYPES[dtype])
    with np.errstate(all="ignore"):
        for start in range(0, len(out), BLOCK):
            part = slice(start, start + BLOCK)
            out[part] = _block(aligned[part], sft[part], alpha, arithmetic).astype(out.dtype)
    return out


def dequantize_reference(
    content: bytes, first: int, width: int, grid: Floats, block: tuple[int, int]
) -> Floats:
    """fp32(element) · scale of the float8_e4m3fn elements from `first` on of a matrix `width` wide.

    grid   a scale for each `block` (rows, columns) of the matrix
    """
    rows, columns = np.divmod(np.arange(first, first + len(content)), width)
    values = np.frombuffer(content, ml_dtypes.float8_e4m3fn).astype(np.float32)
    scaled: Floats = values * grid[rows // block[0], columns // block[1]]
    return scaled


def _block(aligned: Values, sft: Values, alpha: float, arithmetic: Arithmetic) -> Values:
    """Before the one rounding to the output's dtype."""
    if arithmetic == "parity":
        new, old = _bf16(aligned.astype(np.float32)), _bf16(sft.astype(np.float32))
        return _bf16(new + _bf16(np.float32(alpha) * _bf16(new - old)))
    weight = np.float32(-alpha)
    if weight in (0, 1):
        return sft if weight == 1 else aligned
    new, old = aligned.astype(np.float32), sft.astype(np.float32)
    if abs(weight) < 0.5:
        return fused_multiply_add(weight, old - new, new)
    return fused_multiply_add(weight - np.float32(1), old - new, old)


def fused_multiply_add(factor: np.float32, other: Floats, addend: Floats) -> Floats:
    """factor · other + addend, rounded once.

    The product of two fp32 is exact in fp64. Where the sum, rounded to fp64, may be a tie of fp32,
    it is rounded to odd, from where the rounding to fp32 is that of the exact sum (Boldo and
    Melquiond, 2008); elsewhere the second rounding is that of the exact sum already.
    """
    product = np.float64(factor) * other.astype(np.float64)
    wide = addend.astype(np.float64)
    total = product + wide
    # A tie of fp32, subnormal ones too, ends in 28 zeros in fp64.
    ties = np.flatnonzero((total.view(np.uint64) & np.uint64((1 << 28) - 1)) == 0)
    total[ties] = _rounded_to_odd(product[ties], wide[ties], total[ties])
    return total.astype(np.float32)


def equal_values(found: bytes, wanted: bytes, dtype: str) -> bool:
    """Bit for bit, except that a NaN is like any other: what it carries, IEEE 754 leaves open."""
    if found == wanted:
        return True
    kind = NUMPY_DTYPES.get(dtype)
    if kind is None or len(found) != len(wanted):
        return False
    bits = np.dtype(f"u{kind.itemsize}")
    same = np.frombuffer(found, bits) == np.frombuffer(wanted, bits)
    both_nan = np.isnan(np.frombuffer(found, kind)) & np.isnan(np.frombuffer(wanted, kind))
    return bool((same | both_nan).all())


def _rounded_to_odd(
    product: NDArray[np.float64], addend: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum, whose nearest fp64 is `total`: where it is inexact, the neighbor with an odd last bit."""
    back = total - product
    error = (product - (total - back)) + (addend - back)
    inexact = np.isfinite(total) & (error != 0)
    even = (total.view(np.int64) & 1) == 0
    odd: NDArray[np.float64] = np.where(
        inexact & even, np.nextafter(total, np.copysign(np.inf, error)), total
    )
    return odd


def _bf16(values: Floats) -> Floats:
    rounded: Floats = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    return rounded
