"""The threads of one pass: read, compute, write and hash, each slot on its own, all overlapping.

Several threads take slots of the output one after another. Each reads what its slot needs,
computes, writes the slot at its place, and then waits for its turn to hash it: memory is a
few buffers for each thread, whatever the size of the model.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

from tasks.weights.part import PartFile
from tasks.weights.plan import ShardJob, shard_header
from tasks.weights.receipts import TensorStatistics
from tasks.weights.slots import Piece, cut_shard

if TYPE_CHECKING:
    from tasks.weights.kernel import Sums
    from tasks.weights.worker import Worker

__all__ = ["Pipeline", "StoppedError"]


class StoppedError(Exception):
    """Another thread failed; its error is the one to look at."""


class _Turns:
    """Lets threads through one at a time, by number from 0 on."""

    def __init__(self) -> None:
        self._next = 0
        self._stopped = False
        self._changed = Condition()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Waits until every lower number had its turn.

        Raises:
            StoppedError: a thread failed, so the turn may never come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next == number)
            if self._stopped:
                raise StoppedError
            yield
            self._next += 1
            self._changed.notify_all()

    @contextmanager
    def stop_on_error(self) -> Iterator[None]:
        """Stops all threads when the work inside fails."""
        try:
            yield
        except BaseException:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            raise


class Pipeline:
    """One output file for each job, made in slots of `slot_bytes`; the jobs differ in α only.

    `advance` gets the bytes of output that were made since its last call, from one thread at a time.
    """

    def __init__(
        self,
        jobs: Sequence[ShardJob],
        files: Sequence[PartFile],
        slot_bytes: int,
        advance: Callable[[int], None],
    ) -> None:
        from tasks.weights.statistics import RunningStatistics

        self._header = shard_header(jobs[0].tensors)
        self._size, self._slot_bytes = jobs[0].bytes, slot_bytes
        self._pieces = cut_shard(jobs[0], slot_bytes)
        self._files = files
        self._advance = advance
        self._turns = _Turns()
        self._statistics: list[dict[int, RunningStatistics]] = [
            {
                number: RunningStatistics(tensor, job.recipe.nonfinite)
                for number, tensor in enumerate(job.tensors)
                if tensor.sft is not None
            }
            for job in jobs
        ]

    def run(self, worker: Callable[[], "Worker"], threads: int) -> None:
        """Makes every slot, with a worker for each thread; raises what the first failure raised."""
        slots = iter(range(-(-self._size // self._slot_bytes)))
        with ThreadPoolExecutor(threads) as pool, self._turns.stop_on_error():
            futures = [pool.submit(self._work, worker, slots) for _ in range(threads)]
            wait(futures)
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error

    def statistics(self) -> list[tuple[TensorStatistics, ...]]:
        """For each job those of its extrapolated tensors, in their order."""
        return [tuple(one.result() for one in of_job.values()) for of_job in self._statistics]

    def _work(self, worker: Callable[[], "Worker"], slots: Iterator[int]) -> None:
        import torch

        with self._turns.stop_on_error(), torch.inference_mode():
            own = worker()
            for slot in slots:
                self._make(slot, own)

    def _make(self, slot: int, worker: "Worker") -> None:
        start = slot * self._slot_bytes
        length = min(self._slot_bytes, self._size - start)
        contents = [out[:length].numpy().data for out in worker.outs]
        head = self._header[start : start + self._slot_bytes]
        for content in contents:
            content[: len(head)] = head
        pieces = self._pieces.get(slot, [])
        sums = [worker.make(piece) for piece in pieces]
        for file, content in zip(self._files, contents, strict=True):
            file.write(content, start)
        with self._turns.turn(slot):
            for file, content in zip(self._files, contents, strict=True):
                file.hash(content)
                self._advance(length)
            self._add(pieces, sums)

    def _add(self, pieces: Sequence[Piece], sums: Sequence["Sums | None"]) -> None:
        for piece, one in zip(pieces, sums, strict=True):
            if one is not None:
                for of_job, nonfinite in zip(self._statistics, one.nonfinite, strict=True):
                    of_job[piece.tensor].add(one, nonfinite)
