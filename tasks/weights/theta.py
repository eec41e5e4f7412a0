"""θ(α) tensor by tensor, in memory: for an engine that takes new weights while it runs.

The same reads and the same arithmetic as the files that `tasks.weights.shard_writer` writes. While
the caller loads one tensor the next is computed, so two tensors are held beside the buffers of
the threads. Each tensor has memory of its own, which the caller may keep: vLLM holds the parts of
a layer back until it has all of them.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.stores.source import Source
from tasks.weights.headers import ITEM_BYTES
from tasks.weights.inputs import Inputs
from tasks.weights.jobs import Plan, ShardJob, TensorJob
from tasks.weights.slots import Piece, spans
from tasks.weights.worker import Worker
from tasks.weights.worker_kinds import worker_factory

__all__ = ["ThetaStream", "ThetaTensor"]

PIECE_BYTES = 4 << 20
THREADS = 4


class ThetaTensor(NamedTuple):
    """A tensor of θ(α).

    dtype  in the words of safetensors
    data   shape (bytes,): the elements as a file would hold them
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]


class _Pending(NamedTuple):
    tensor: ThetaTensor
    pieces: list[Future[int]]


class ThetaStream:
    """Iterates over the tensors of a plan, in the order of its shards.

    `nonfinite` is the number of NaN and Inf in what was computed so far.
    """

    def __init__(self, plan: Plan, aligned: Source, sft: Source, threads: int = THREADS) -> None:
        self._plan, self._aligned, self._sft, self._threads = plan, aligned, sft, threads
        self.nonfinite = 0

    def __iter__(self) -> Iterator[ThetaTensor]:
        """The tensors.

        Raises:
            CorruptError: an input ends early.
        """
        for job in self._plan.shards:
            yield from self._shard(job)

    def _shard(self, job: ShardJob) -> Iterator[ThetaTensor]:
        with (
            Inputs(self._aligned, job.aligned_files) as aligned,
            Inputs(self._sft, job.sft_files) as sft,
            ThreadPoolExecutor(self._threads) as pool,
        ):
            workers: SimpleQueue[Worker] = SimpleQueue()
            make = worker_factory([job], aligned, sft, PIECE_BYTES, "cpu")
            for _ in range(self._threads):
                workers.put(make())
            ahead: _Pending | None = None
            for number, tensor in enumerate(job.tensors):
                begun = _begin(number, tensor, workers, pool)
                if ahead:
                    yield self._finish(ahead)
                ahead = begun
            if ahead:
                yield self._finish(ahead)

    def _finish(self, pending: _Pending) -> ThetaTensor:
        self.nonfinite += sum(piece.result() for piece in pending.pieces)
        return pending.tensor


def _begin(
    number: int, tensor: TensorJob, workers: "SimpleQueue[Worker]", pool: ThreadPoolExecutor
) -> _Pending:
    data = np.empty(tensor.nbytes, np.uint8)
    pieces = [pool.submit(_make, workers, piece, data) for piece in _pieces(number, tensor)]
    return _Pending(ThetaTensor(tensor.name, tensor.dtype, tensor.shape, data), pieces)


def _pieces(number: int, tensor: TensorJob) -> Iterator[Piece]:
    item = ITEM_BYTES[tensor.dtype]
    step = PIECE_BYTES // item
    for first, count, sft_first in spans(tensor):
        for done in range(0, count, step):
            start = None if sft_first is None else sft_first + done
            yield Piece(number, first + done, min(step, count - done), start, (first + done) * item)


def _make(workers: "SimpleQueue[Worker]", piece: Piece, data: NDArray[np.uint8]) -> int:
    """Computes a piece in place; the number of its non-finite elements."""
    worker = workers.get()
    try:
        sums = worker.make(piece, [data])
    finally:
        workers.put(worker)
    return sums.nonfinite[0] if sums else 0
