"""Extrapolation and measurement of one piece, on the CPU or on a GPU.

Both kernels take tensors in host memory and give the same bytes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tasks.weights.formula import extrapolate_block
from tasks.weights.recipe import Arithmetic

__all__ = ["CpuKernel", "CudaKernel", "Kernel", "Sums"]


# Sums of squares are of rows so short that fp32 keeps six digits of them.
ROW = 8192


class Sums(NamedTuple):
    """Figures of a piece, of θ = θ_aligned and Δ = θ_aligned − θ_sft, in fp32.

    squares, update_squares  ‖θ‖₂² and ‖Δ‖₂²
    largest                  max |Δ|
    nonfinite                number of NaN and Inf in the output, for each α
    """

    squares: float
    update_squares: float
    largest: float
    nonfinite: tuple[int, ...]


class Kernel(Protocol):
    """Computes a piece at every α of a pass."""

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        """Writes one output for each α; all tensors are flat, of equal length, in host memory."""


class CpuKernel:
    """A whole piece of at most `elements` at once, in the thread that made this kernel.

    Every operation takes the interpreter's lock once: few operations on many elements are
    several times faster than many on blocks that stay in the core's cache.
    """

    def __init__(self, arithmetic: Arithmetic, elements: int) -> None:
        self._arithmetic: Arithmetic = arithmetic
        whole = -(-elements // ROW) * ROW
        self._new, self._update = torch.empty(whole), torch.empty(whole)
        # Of this thread: the shard's other threads are at work beside it.
        torch.set_num_threads(1)

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        for alpha, out in zip(alphas, outs, strict=True):
            extrapolate_block(aligned, sft, alpha, self._arithmetic, out)
        count, whole = len(aligned), -(-len(aligned) // ROW) * ROW
        new, update = self._new[:whole], self._update[:whole]
        torch.sub(new[:count].copy_(aligned), sft, out=update[:count])
        new[count:], update[count:] = 0, 0
        return _sums(new.view(-1, ROW), update.view(-1, ROW), alphas, outs)


class CudaKernel:
    """The whole piece on the GPU, on a stream of its own: one thread copies while another computes.

    Host tensors should be pinned. Written against the CUDA documentation; not run on a GPU yet.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic: Arithmetic = arithmetic
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        with torch.cuda.stream(self._stream):
            new, old = (side.to("cuda", non_blocking=True) for side in (aligned, sft))
            results = [torch.empty_like(out, device="cuda") for out in outs]
            for alpha, result, out in zip(alphas, results, outs, strict=True):
                extrapolate_block(new, old, alpha, self._arithmetic, result)
                out.copy_(result, non_blocking=True)
            wide = new.float()
            sums = _sums(wide[None], (wide - old.float())[None], alphas, results)
            self._stream.synchronize()
            return sums


def _sums(new: Tensor, update: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
    """The figures of θ and Δ, both fp32 of shape (rows, row), and the NaN and Inf of the outputs.

    No dot products: BLAS starts threads for them. NaN and Inf are counted only where the
    figures do not rule them out.
    """
    norms = [torch.linalg.vector_norm(side, dim=1) for side in (new, update)]
    squares, update_squares = (math.fsum(norm * norm for norm in one.tolist()) for one in norms)
    least, most = torch.aminmax(update)
    largest = max(float(most), -float(least)) if math.isfinite(update_squares) else math.nan
    bounds = (math.sqrt(squares) + abs(alpha) * largest for alpha in alphas)
    return Sums(
        squares=squares,
        update_squares=update_squares,
        largest=largest,
        nonfinite=tuple(
            0 if bound < torch.finfo(out.dtype).max else int((~out.isfinite()).sum())
            for bound, out in zip(bounds, outs, strict=True)
        ),
    )
