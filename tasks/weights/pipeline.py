"""The threads of one pass: read, compute, write and hash, each slot on its own, all overlapping.

Several threads take slots of the output one after another. Each reads what its slot needs,
computes and writes the slot at its place; made slots are hashed in their order. Memory is a
few buffers for each thread, whatever the size of the model.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeAlias

from tasks.weights.block_stats import RunningStatistics
from tasks.weights.jobs import ShardJob, shard_header
from tasks.weights.part_file import PartFile
from tasks.weights.receipts import TensorStatistics
from tasks.weights.slot_queue import ReorderBuffer, StoppedError
from tasks.weights.slots import cut_shard

if TYPE_CHECKING:
    from tasks.weights.kernel import BlockStats
    from tasks.weights.worker import Outputs, Worker

    SlotStats: TypeAlias = list[BlockStats | None]

__all__ = ["Pipeline"]


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
        self._header = shard_header(jobs[0].tensors)
        self._size, self._slot_bytes = jobs[0].bytes, slot_bytes
        self._pieces = cut_shard(jobs[0], slot_bytes)
        self._files = files
        self._advance = advance
        self._statistics: list[dict[int, RunningStatistics]] = [
            {
                number: RunningStatistics(tensor, job.recipe)
                for number, tensor in enumerate(job.tensors)
                if tensor.extrapolated
            }
            for job in jobs
        ]

    def run(self, worker: Callable[[], "Worker"], threads: int) -> None:
        """Makes every slot, with a worker for each thread; raises what the first failure raised."""
        workers = [worker() for _ in range(threads)]
        buffers = [each.outputs() for each in workers]
        slots = ReorderBuffer(-(-self._size // self._slot_bytes), buffers, self._take)
        with ThreadPoolExecutor(threads) as pool, slots.stop_on_error():
            futures = [pool.submit(self._work, each, slots) for each in workers]
            wait(futures)
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error

    def statistics(self) -> list[tuple[TensorStatistics, ...]]:
        """For each job those of its extrapolated tensors, in their order."""
        return [tuple(tensor.result() for tensor in of_job.values()) for of_job in self._statistics]

    def _work(self, worker: "Worker", slots: "ReorderBuffer[Outputs, SlotStats]") -> None:
        with slots.stop_on_error():
            for slot, outs in slots.slots():
                slots.put(slot, outs, self._make(slot, worker, outs))

    def _make(self, slot: int, worker: "Worker", outs: "Outputs") -> "SlotStats":
        start = slot * self._slot_bytes
        head = self._header[start : start + self._slot_bytes]
        for out in outs:
            out.data[: len(head)] = head
        sums = [worker.make(piece, outs) for piece in self._pieces.get(slot, [])]
        for file, content in zip(self._files, self._contents(slot, outs), strict=True):
            file.write(content, start)
        return sums

    def _take(self, slot: int, outs: "Outputs", sums: "SlotStats") -> None:
        for file, content in zip(self._files, self._contents(slot, outs), strict=True):
            file.hash(content)
            self._advance(len(content))
        for piece, stats in zip(self._pieces.get(slot, []), sums, strict=True):
            if stats is not None:
                for of_job, nonfinite in zip(self._statistics, stats.nonfinite, strict=True):
                    of_job[piece.tensor].add(stats, nonfinite)

    def _contents(self, slot: int, outs: "Outputs") -> list[memoryview]:
        length = min(self._slot_bytes, self._size - slot * self._slot_bytes)
        return [out[:length].data for out in outs]
