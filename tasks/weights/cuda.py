"""Extrapolation and measurement of one piece on a GPU: the CPU's bytes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.weights.compiled import Array
from tasks.weights.formula import DTYPES, extrapolate_block
from tasks.weights.kernel import STORED, BlockStats
from tasks.weights.recipe import Arithmetic

__all__ = ["CudaKernel", "pinned"]

OF_STORED = {STORED[name]: dtype for name, dtype in DTYPES.items()}


class CudaKernel:
    """The whole piece on the GPU, on a stream of its own: one thread copies while another computes.

    Arrays should lie in `pinned` memory, without which a copy holds the other streams up.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic: Arithmetic = arithmetic
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, aligned: Array, sft: Array, alphas: Sequence[float], outs: Sequence[Array]) -> BlockStats:
        """See `Kernel`."""
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            new, old = (_tensor(side).to("cuda", non_blocking=True) for side in (aligned, sft))
            results = []
            for alpha, out in zip(alphas, outs, strict=True):
                result = torch.empty_like(_tensor(out), device="cuda")
                extrapolate_block(new, old, alpha, self._arithmetic, result)
                _tensor(out).copy_(result, non_blocking=True)
                results.append(result)
            # The figures are waited for, and with them all that the stream was given before.
            squares, update_squares, product, largest, *nonfinite = _block_stats(
                new.float(), old.float(), results
            ).tolist()
        return BlockStats(squares, update_squares, product, largest, tuple(int(count) for count in nonfinite))


def pinned(size: int) -> NDArray[np.uint8]:
    """Bytes in memory that the GPU reaches by itself."""
    buffer: NDArray[np.uint8] = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
    return buffer


def _block_stats(new: Tensor, old: Tensor, results: Sequence[Tensor]) -> Tensor:
    """‖θ‖₂², ‖Δ‖₂², θ·Δ, max |Δ|, and of each result the number of NaN and Inf: fp64, one copy."""
    update = new - old
    pairs = ((new, new), (update, update), (new, update))
    sums = [(first * second).sum(dtype=torch.float64) for first, second in pairs]
    bad = [(~result.isfinite()).sum().double() for result in results]
    return torch.stack([*sums, update.abs().max().double(), *bad])


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(array).view(OF_STORED[array.dtype])
