"""One thread of a pass with an fp8 side: its elements are multiplied by their scales as they are read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.weights.block_scale import BlockScale
from tasks.weights.compiled import Array
from tasks.weights.fp8_kernel import dequantize
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.inputs import Reader
from tasks.weights.jobs import ShardJob
from tasks.weights.kernel import BlockStats
from tasks.weights.reference import NUMPY_DTYPES
from tasks.weights.slots import Piece
from tasks.weights.worker import Bytes, Outputs, Worker

__all__ = ["DequantizingWorker", "Scales", "read_scales"]

Grids = dict[BlockScale, NDArray[np.float32]]


class Scales(NamedTuple):
    """The scales of a shard's tensors on each side, in fp32."""

    aligned: Grids
    sft: Grids


def read_scales(job: ShardJob, aligned: Reader, sft: Reader) -> Scales:
    """Reads all scales of a shard; they are less than a sixteenth of its elements, mostly a 16,384th."""
    return Scales(
        aligned={scale: _read(aligned, scale) for scale in job.scales("aligned")},
        sft={scale: _read(sft, scale) for scale in job.scales("sft")},
    )


def _read(inputs: Reader, scale: BlockScale) -> NDArray[np.float32]:
    content = np.empty(scale.nbytes, np.uint8)
    inputs.read_into(content.data, scale.file, scale.offset)
    return content.view(NUMPY_DTYPES[scale.dtype]).reshape(scale.shape).astype(np.float32)


class DequantizingWorker(Worker):
    """A worker that hands fp8 tensors to the kernel as fp32."""

    def __init__(
        self,
        jobs: Sequence[ShardJob],
        aligned: Reader,
        sft: Reader,
        slot_bytes: int,
        device: str,
        scales: Scales,
    ) -> None:
        super().__init__(jobs, aligned, sft, slot_bytes, device)
        self._scales = scales
        self._raw = np.empty(slot_bytes // 2, np.uint8)  # of an element two bytes are written at least

    def make(self, piece: Piece, outs: Outputs) -> BlockStats | None:
        """As `Worker.make`; an fp8 tensor of the aligned side alone is copied dequantized."""
        tensor = self._jobs[0].tensors[piece.tensor]
        assert tensor.aligned is not None
        if tensor.sft is not None or tensor.aligned.scale is None:
            return super().make(piece, outs)
        new = self._load(self._aligned, tensor.aligned, piece.first, piece.elements, self._aligned_buffer)
        self._kernel.run(new, new, [0.0] * len(outs), self._views(piece, outs))
        return None

    def _load(self, inputs: Reader, tensor: TensorRange, first: int, count: int, buffer: Bytes) -> Array:
        if tensor.scale is None:
            return super()._load(inputs, tensor, first, count, buffer)
        raw = self._raw[:count]
        inputs.read_into(raw.data, tensor.file, tensor.offset + first)
        values: NDArray[np.float32] = buffer[: count * ITEM_BYTES["F32"]].view(np.float32)
        grids = self._scales.aligned if inputs is self._aligned else self._scales.sft
        dequantize(raw, first, tensor.shape[1], grids[tensor.scale], tensor.scale.block, values)
        return values
