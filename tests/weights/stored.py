"""Tensors as the CPU's kernel is handed them."""

import torch
from torch import Tensor

from tasks.weights.compiled import Array
from tasks.weights.formula import DTYPES
from tasks.weights.kernel import STORED

__all__ = ["stored"]


def stored(tensor: Tensor) -> Array:
    """The tensor's own memory as kernels are handed it."""
    name = next(name for name, dtype in DTYPES.items() if dtype == tensor.dtype)
    array: Array = tensor.view(torch.uint8).numpy().view(STORED[name])
    return array
