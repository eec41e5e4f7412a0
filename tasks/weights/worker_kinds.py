"""Which worker a job needs: for two checkpoints, for fp8 weights with scales, or for an adapter."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasks.weights.inputs import Reader
from tasks.weights.jobs import ShardJob

if TYPE_CHECKING:
    from tasks.weights.worker import Worker

__all__ = ["FACTORS_HELD", "worker_factory"]

# Tensors whose low-rank factors are held: threads work on neighboring slots, so on two tensors at most.
FACTORS_HELD = 2


def worker_factory(
    jobs: Sequence[ShardJob], aligned: Reader, sft: Reader, slot_bytes: int, place: str
) -> "Callable[[], Worker]":
    """Makes the worker of a thread. An adapter is merged on the CPU, whatever the device."""
    if jobs[0].scales("aligned") or jobs[0].scales("sft"):
        from tasks.weights.fp8_worker import DequantizingWorker, read_scales

        scales = read_scales(jobs[0], aligned, sft)
        return partial(DequantizingWorker, jobs, aligned, sft, slot_bytes, place, scales)
    if jobs[0].recipe.adapter:
        from tasks.weights.merge_worker import FactorCache, MergeWorker

        return partial(MergeWorker, jobs, aligned, sft, slot_bytes, FactorCache(aligned, FACTORS_HELD))
    from tasks.weights.worker import Worker

    return partial(Worker, jobs, aligned, sft, slot_bytes, place)
