"""The reference of `expo verify`, for tensors."""

import torch
from torch import Tensor

from tasks.weights.formula import DTYPES
from tasks.weights.options import Arithmetic
from tasks.weights.reference import NUMPY_DTYPES, extrapolate_reference

__all__ = ["reference"]

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def reference(aligned: Tensor, sft: Tensor, alpha: float, arithmetic: Arithmetic, out: torch.dtype) -> Tensor:
    """The extrapolation of two flat tensors (bf16, fp16 or fp32 each)."""
    new, old = (
        side.contiguous().view(torch.uint8).numpy().view(NUMPY_DTYPES[NAMES[side.dtype]])
        for side in (aligned, sft)
    )
    value = extrapolate_reference(new, old, alpha, arithmetic, NAMES[out])
    return torch.from_numpy(value.view("u1").copy()).view(out)
