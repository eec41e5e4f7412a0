"""One thread of a pass: its buffers, and the making of a piece in them."""

import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.inputs import Reader
from tasks.weights.kernel import CpuKernel, CudaKernel, Kernel, Sums
from tasks.weights.plan import ShardJob
from tasks.weights.slots import Piece

__all__ = ["DTYPES", "Worker"]

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


class Worker:
    """Two input buffers and one output buffer for each job, allocated once and used for every slot."""

    def __init__(
        self, jobs: Sequence[ShardJob], aligned: Reader, sft: Reader, slot_bytes: int, device: str
    ) -> None:
        self._jobs, self._aligned, self._sft = jobs, aligned, sft
        pinned = device == "cuda"
        # 16-bit outputs of 32-bit inputs need twice the slot.
        self._aligned_buffer = _buffer(2 * slot_bytes, pinned)
        self._sft_buffer = _buffer(2 * slot_bytes, pinned)
        self.outs = [_buffer(slot_bytes, pinned) for _ in jobs]
        arithmetic = jobs[0].recipe.arithmetic
        self._kernel: Kernel = CudaKernel(arithmetic) if pinned else CpuKernel(arithmetic, slot_bytes // 2)

    def make(self, piece: Piece) -> Sums | None:
        """Reads a piece and computes it into its place in each output; None for a buffer, only copied."""
        tensor = self._jobs[0].tensors[piece.tensor]
        size = piece.elements * ITEM_BYTES[tensor.dtype]
        places = [out[piece.position : piece.position + size] for out in self.outs]
        if tensor.sft is None:
            self._copy(tensor.aligned, piece, places)
            return None
        new = old = self._load(
            self._aligned, tensor.aligned, piece.first, piece.elements, self._aligned_buffer
        )
        if piece.sft_first is not None:
            old = self._load(self._sft, tensor.sft, piece.sft_first, piece.elements, self._sft_buffer)
        alphas = [job.tensors[piece.tensor].alpha for job in self._jobs]
        return self._kernel.run(new, old, alphas, [place.view(DTYPES[tensor.dtype]) for place in places])

    def _load(self, inputs: Reader, tensor: TensorRange, first: int, count: int, buffer: Tensor) -> Tensor:
        item = ITEM_BYTES[tensor.dtype]
        content = buffer[: count * item]
        inputs.read_into(content.numpy().data, tensor.file, tensor.offset + first * item)
        return content.view(DTYPES[tensor.dtype])

    def _copy(self, tensor: TensorRange, piece: Piece, places: Sequence[Tensor]) -> None:
        offset = tensor.offset + piece.first * ITEM_BYTES[tensor.dtype]
        self._aligned.read_into(places[0].numpy().data, tensor.file, offset)
        for place in places[1:]:
            place.copy_(places[0])


def _buffer(size: int, pinned: bool) -> Tensor:
    """Bytes that begin at a page, as direct writes ask."""
    if pinned:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
