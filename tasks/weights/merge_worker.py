"""One thread of a pass that merges an adapter: pieces of the SFT model's weights plus their update."""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.weights.compiled import Array
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.inputs import Reader
from tasks.weights.jobs import ShardJob, TensorJob
from tasks.weights.kernel import STORED, BlockStats
from tasks.weights.low_rank import LowRank
from tasks.weights.merge_kernel import add_update, dora_rows, low_rank_block, update_stats
from tasks.weights.slots import Piece
from tasks.weights.worker import Outputs, Worker

__all__ = ["FactorCache", "MergeWorker"]


class _FactorArrays(NamedTuple):
    """left (rows, rank), right (rank, columns), magnitude (rows,) or None; as STORED."""

    left: NDArray[np.generic]
    right: NDArray[np.generic]
    magnitude: NDArray[np.generic] | None


class FactorCache:
    """The factors of the tensors that are being made, read once for all threads of a pass."""

    def __init__(self, adapter: Reader, held: int) -> None:
        self._adapter, self._most = adapter, held
        self._held: dict[int, _FactorArrays] = {}
        self._lock = Lock()

    def of(self, update: LowRank) -> _FactorArrays:
        """The factors of an update, in C order."""
        key = update.a.offset
        with self._lock:
            if key not in self._held:
                while len(self._held) >= self._most:
                    del self._held[next(iter(self._held))]
                self._held[key] = self._read(update)
            return self._held[key]

    def _read(self, update: LowRank) -> _FactorArrays:
        a, b = self._matrix(update.a), self._matrix(update.b)
        left, right = (a.T, b.T) if update.transposed else (b, a)
        magnitude = self._matrix(update.magnitude) if update.magnitude else None
        return _FactorArrays(np.ascontiguousarray(left), np.ascontiguousarray(right), magnitude)

    def _matrix(self, tensor: TensorRange) -> NDArray[np.generic]:
        content = np.empty(tensor.nbytes, np.uint8)
        self._adapter.read_into(content.data, tensor.file, tensor.offset)
        return content.view(STORED[tensor.dtype]).reshape(tensor.shape)


class MergeWorker(Worker):
    """A worker on the CPU whose aligned side is the SFT model with an adapter."""

    def __init__(
        self,
        jobs: Sequence[ShardJob],
        adapter: Reader,
        sft: Reader,
        slot_bytes: int,
        factors: FactorCache,
    ) -> None:
        super().__init__(jobs, adapter, sft, slot_bytes, "cpu")
        self._factors = factors

    def make(self, piece: Piece, outs: Outputs) -> BlockStats | None:
        """As `Worker.make`; a tensor that the adapter leaves alone is the SFT model's."""
        tensor = self._jobs[0].tensors[piece.tensor]
        places = self._places(piece, outs)
        if tensor.aligned is not None:
            return super().make(piece, outs)
        assert tensor.sft is not None
        if not tensor.extrapolated:
            self._copy(self._sft, tensor.sft, piece, places)
            return None
        views = self._views(piece, outs)
        alphas = [job.tensors[piece.tensor].alpha for job in self._jobs]
        if tensor.low_rank is not None and tensor.low_rank.magnitude is not None:
            aligned, sft = self._dora(tensor, tensor.low_rank, piece)
            return self._kernel.run(aligned, sft, alphas, views)
        sft = self._load(self._sft, tensor.sft, piece.first, piece.elements, self._sft_buffer)
        if tensor.low_rank is None:
            return self._kernel.run(sft, sft, alphas, views)
        factors = self._factors.of(tensor.low_rank)
        update = self._aligned_buffer[: piece.elements * ITEM_BYTES["F32"]].view(np.float32)
        low_rank_block(factors.left, factors.right, tensor.low_rank.scale, piece.first, update)
        nonfinite = tuple(
            add_update(update, sft, alpha, view) for alpha, view in zip(alphas, views, strict=True)
        )
        return BlockStats(*update_stats(update, sft), nonfinite)

    def _dora(self, tensor: TensorJob, low_rank: LowRank, piece: Piece) -> tuple[Array, Array]:
        """The aligned and the SFT weights of a piece; norms are of whole rows, so these are read whole."""
        assert tensor.sft is not None
        width = tensor.shape[1]
        row, end = piece.first // width, -(-(piece.first + piece.elements) // width)
        count = (end - row) * width
        buffer = np.empty(count * ITEM_BYTES[tensor.sft.dtype], np.uint8)
        sft = self._load(self._sft, tensor.sft, row * width, count, buffer)
        factors = self._factors.of(low_rank)
        aligned = np.empty(count, np.float32)
        low_rank_block(factors.left, factors.right, low_rank.scale, row * width, aligned)
        assert factors.magnitude is not None
        dora_rows(aligned, sft, factors.magnitude[row:end], width)
        part = slice(piece.first - row * width, piece.first - row * width + piece.elements)
        return aligned[part], sft[part]
