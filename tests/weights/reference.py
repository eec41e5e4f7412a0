"""θ_expo element by element: what the formula and the compiled loops are held against.

No operation here depends on where in a vector an element stands: additions, multiplications and
casts of IEEE 754 alone, and a fused multiply-add that is made of them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.weights.recipe import Arithmetic

__all__ = ["fused_multiply_add", "reference"]

Floats = NDArray[np.float32]


def reference(aligned: Tensor, sft: Tensor, alpha: float, arithmetic: Arithmetic, out: torch.dtype) -> Tensor:
    """The extrapolation of two flat tensors (bf16, fp16 or fp32 each), as `extrapolate_block` defines it."""
    if arithmetic == "parity":
        new, old, factor = _bf16(aligned.float().numpy()), _bf16(sft.float().numpy()), np.float32(alpha)
        with np.errstate(all="ignore"):
            return torch.from_numpy(_bf16(new + _bf16(factor * _bf16(new - old)))).to(out)
    weight = np.float32(-alpha)
    if weight in (0, 1):
        return (sft if weight == 1 else aligned).to(out)
    new, old = aligned.float().numpy(), sft.float().numpy()
    nearer_aligned = abs(weight) < 0.5
    with np.errstate(all="ignore"):
        factor = weight if nearer_aligned else weight - np.float32(1)
        value = fused_multiply_add(factor, old - new, new if nearer_aligned else old)
    return torch.from_numpy(value).to(out)


def fused_multiply_add(factor: np.float32, other: Floats, addend: Floats) -> Floats:
    """factor · other + addend, rounded once.

    The product of two fp32 is exact in fp64. The sum is rounded to odd there, from where the
    rounding to fp32 is that of the exact sum (Boldo and Melquiond, 2008).
    """
    product = np.float64(factor) * other.astype(np.float64)
    wide = addend.astype(np.float64)
    total = product + wide
    back = total - product
    error = (product - (total - back)) + (wide - back)
    inexact = np.isfinite(total) & (error != 0)
    even = (total.view(np.int64) & 1) == 0
    odd = np.where(inexact & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(np.float32)


def _bf16(values: Floats) -> Floats:
    rounded: Floats = torch.from_numpy(values).bfloat16().float().numpy()
    return rounded
