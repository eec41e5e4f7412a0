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

# From 32768 elements on PyTorch starts threads of its own; below, a block also stays in the core's cache.
BLOCK = 32768 - 64


class Sums(NamedTuple):
    """Sums over a piece, of θ = θ_aligned and Δ = θ_aligned − θ_sft, in fp32.

    nonfinite  number of NaN and Inf in the output, for each α
    """

    squares: float
    update_squares: float
    product: float
    largest: float
    nonfinite: tuple[int, ...]


class Kernel(Protocol):
    """Computes a piece at every α of a pass."""

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        """Writes one output for each α; all tensors are flat, of equal length, in host memory."""


class CpuKernel:
    """Block by block through the cache, in one thread."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic: Arithmetic = arithmetic
        self._new, self._update = torch.empty(BLOCK), torch.empty(BLOCK)

    def run(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        cuts = [slice(start, start + BLOCK) for start in range(0, len(aligned), BLOCK)]
        found = [self._block(aligned[cut], sft[cut], alphas, [out[cut] for out in outs]) for cut in cuts]
        return Sums(
            squares=math.fsum(one.squares for one in found),
            update_squares=math.fsum(one.update_squares for one in found),
            product=math.fsum(one.product for one in found),
            largest=max(one.largest for one in found),
            nonfinite=tuple(map(sum, zip(*(one.nonfinite for one in found), strict=True))),
        )

    def _block(self, aligned: Tensor, sft: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
        for alpha, out in zip(alphas, outs, strict=True):
            extrapolate_block(aligned, sft, alpha, self._arithmetic, out)
        new, update = self._new[: len(aligned)], self._update[: len(aligned)]
        new.copy_(aligned)
        update.copy_(sft)
        torch.sub(new, update, out=update)
        return _measure(new, update, alphas, outs)


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
            sums = _measure(wide, wide - old.float(), alphas, results)
            self._stream.synchronize()
            return sums


def _measure(new: Tensor, update: Tensor, alphas: Sequence[float], outs: Sequence[Tensor]) -> Sums:
    """The sums of fp32 θ and Δ; counts NaN and Inf only where the sums do not rule them out.

    No dot products: on the CPU the BLAS library starts threads for them, however short they are.
    """
    squares = float(torch.linalg.vector_norm(new)) ** 2
    update_squares = float(torch.linalg.vector_norm(update)) ** 2
    largest = max(float(update.amax()), -float(update.amin()))
    bounds = (math.sqrt(squares) + abs(alpha) * largest for alpha in alphas)
    return Sums(
        squares=squares,
        update_squares=update_squares,
        product=float(new.mul_(update).sum()),
        largest=largest,
        nonfinite=tuple(
            0 if bound < torch.finfo(out.dtype).max else int((~out.isfinite()).sum())
            for bound, out in zip(bounds, outs, strict=True)
        ),
    )
