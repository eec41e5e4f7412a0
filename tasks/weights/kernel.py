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

__all__ = ["BLOCK", "CpuKernel", "CudaKernel", "Kernel", "Sums"]

# From 32768 elements on PyTorch starts threads of its own; below, a block also stays in the core's cache.
BLOCK = 32768 - 64


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
    """Block by block through the cache, in one thread; pieces of at most `elements`."""

    def __init__(self, arithmetic: Arithmetic, elements: int) -> None:
        self._arithmetic: Arithmetic = arithmetic
        self._new, self._update = torch.empty(BLOCK), torch.empty(BLOCK)
        self._figures = torch.empty(-(-elements // BLOCK), 4)
        self._places = [row.unbind() for row in self._figures]

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        blocks = zip(*(torch.split(side, BLOCK) for side in (aligned, sft, *outs)), strict=True)
        count = 0
        for (one, two, *results), place in zip(blocks, self._places, strict=False):
            for alpha, result in zip(alphas, results, strict=True):
                extrapolate_block(one, two, alpha, self._arithmetic, result)
            self._measure(one, two, place)
            count += 1
        return _sums(self._figures[:count], alphas, outs)

    def _measure(self, aligned: Tensor, sft: Tensor, place: Sequence[Tensor]) -> None:
        new, update = self._new, self._update
        if len(aligned) < BLOCK:
            new, update = new[: len(aligned)], update[: len(aligned)]
        new.copy_(aligned)
        torch.sub(new, sft, out=update)
        _measure(new, update, place)


class CudaKernel:
    """The whole piece on the GPU, on a stream of its own: one thread copies while another computes.

    Host tensors should be pinned. Written against the CUDA documentation; not run on a GPU yet.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic: Arithmetic = arithmetic
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._figures = torch.empty(1, 4, device="cuda")

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        with torch.cuda.stream(self._stream):
            new, old = (side.to("cuda", non_blocking=True) for side in (aligned, sft))
            results = [torch.empty_like(out, device="cuda") for out in outs]
            for alpha, result, out in zip(alphas, results, outs, strict=True):
                extrapolate_block(new, old, alpha, self._arithmetic, result)
                out.copy_(result, non_blocking=True)
            wide = new.float()
            _measure(wide, wide - old.float(), self._figures[0].unbind())
            sums = _sums(self._figures, alphas, results)
            self._stream.synchronize()
            return sums


def _measure(new: Tensor, update: Tensor, place: Sequence[Tensor]) -> None:
    """Four figures of fp32 θ and Δ. No dot products: BLAS starts threads for them, however short they are."""
    torch.linalg.vector_norm(new, out=place[0])
    torch.linalg.vector_norm(update, out=place[1])
    torch.amax(update, 0, out=place[2])
    torch.amin(update, 0, out=place[3])


def _sums(figures: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
    """The figures of all blocks together; NaN and Inf are counted only where they are not ruled out."""
    norms, update_norms, most, least = zip(*figures.tolist(), strict=True)
    squares = math.fsum(norm * norm for norm in norms)
    update_squares = math.fsum(norm * norm for norm in update_norms)
    # A NaN would be lost in max().
    largest = max(*most, *(-one for one in least)) if math.isfinite(update_squares) else math.nan
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
