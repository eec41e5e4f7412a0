"""One thread of a pass: its buffers, and the making of a piece in them."""

import mmap
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.weights.compiled import Array
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.inputs import Reader
from tasks.weights.jobs import ShardJob
from tasks.weights.kernel import STORED, BlockStats, CpuKernel, Kernel
from tasks.weights.slots import Piece

__all__ = ["Bytes", "Outputs", "Worker"]

Bytes = NDArray[np.uint8]
Outputs = list[Bytes]


class Worker:
    """Two input buffers, allocated once and used for every slot; the output's come with the slot."""

    def __init__(
        self, jobs: Sequence[ShardJob], aligned: Reader, sft: Reader, slot_bytes: int, device: str
    ) -> None:
        self._jobs, self._aligned, self._sft = jobs, aligned, sft
        self._kernel, self._empty = _on(device, jobs[0])
        self._slot_bytes = slot_bytes
        # 16-bit outputs of 32-bit inputs need twice the slot.
        self._aligned_buffer, self._sft_buffer = self._empty(2 * slot_bytes), self._empty(2 * slot_bytes)

    def outputs(self) -> Outputs:
        """Buffers for one slot of each job."""
        return [self._empty(self._slot_bytes) for _ in self._jobs]

    def make(self, piece: Piece, outs: Outputs) -> BlockStats | None:
        """Reads a piece and computes it into its place in each output; None for a buffer, only copied."""
        tensor = self._jobs[0].tensors[piece.tensor]
        assert tensor.aligned is not None
        if tensor.sft is None:
            self._copy(self._aligned, tensor.aligned, piece, self._places(piece, outs))
            return None
        new = old = self._load(
            self._aligned, tensor.aligned, piece.first, piece.elements, self._aligned_buffer
        )
        if piece.sft_first is not None:
            place = tensor.sft_at(piece.first)
            assert place is not None
            old = self._load(self._sft, place, piece.sft_first, piece.elements, self._sft_buffer)
        alphas = [job.tensors[piece.tensor].alpha for job in self._jobs]
        return self._kernel.run(new, old, alphas, self._views(piece, outs))

    def _load(self, inputs: Reader, tensor: TensorRange, first: int, count: int, buffer: Bytes) -> Array:
        item = ITEM_BYTES[tensor.dtype]
        content = buffer[: count * item]
        inputs.read_into(content.data, tensor.file, tensor.offset + first * item)
        items: Array = content.view(STORED[tensor.dtype])
        return items

    def _places(self, piece: Piece, outs: Outputs) -> Outputs:
        """Where the piece lies in each output's slot."""
        size = piece.elements * ITEM_BYTES[self._jobs[0].tensors[piece.tensor].dtype]
        return [out[piece.position : piece.position + size] for out in outs]

    def _views(self, piece: Piece, outs: Outputs) -> list[Array]:
        """The same in the dtype of the output."""
        kind = STORED[self._jobs[0].tensors[piece.tensor].dtype]
        return [place.view(kind) for place in self._places(piece, outs)]

    def _copy(self, inputs: Reader, tensor: TensorRange, piece: Piece, places: Sequence[Bytes]) -> None:
        offset = tensor.offset + piece.first * ITEM_BYTES[tensor.dtype]
        inputs.read_into(places[0].data, tensor.file, offset)
        for place in places[1:]:
            place[:] = places[0]


def _on(device: str, job: ShardJob) -> tuple[Kernel, Callable[[int], Bytes]]:
    """The kernel of a device, and what makes buffers for it; torch is loaded for a GPU only."""
    if device == "cpu":
        return CpuKernel(job.recipe.arithmetic), _pages
    from tasks.weights.cuda import CudaKernel, pinned

    return CudaKernel(job.recipe.arithmetic), pinned


def _pages(size: int) -> Bytes:
    """Bytes that begin at a page, as direct writes ask."""
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8)
