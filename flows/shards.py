"""Where shards run: on threads of this process, or on Dask's workers, one for each GPU.

    EXPO_DASK_SCHEDULER=tcp://10.0.0.7:8786      the same code on a cluster
    CUDA_VISIBLE_DEVICES=0 dask worker tcp://10.0.0.7:8786 --nthreads 1 --resources GPU=1

A Dask worker that dies is no failure: its shard goes to another. A shard whose workers always die
fails after as many of them as the scheduler's `distributed.scheduler.allowed-failures` says.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.core.errors import InputError, PermanentError
from tasks.runtime.stage import IN_STAGE
from tasks.shard import shard
from tasks.weights.inputs import InputMode
from tasks.weights.jobs import Plan, ShardJob
from tasks.weights.receipts import ShardReceipt

__all__ = ["SCHEDULER", "run_shards"]

SCHEDULER = "EXPO_DASK_SCHEDULER"
THREADS = 4
CONNECT_SECONDS = 60


def run_shards(plans: Sequence[Plan], store: str, inputs: InputMode) -> tuple[tuple[ShardReceipt, ...], ...]:
    """Writes every output shard of the plans, which are of one pair; the receipts of each plan.

    Raises:
        InputError: there is no Dask scheduler where $EXPO_DASK_SCHEDULER says.
        PermanentError: a shard's workers died each time it was tried.
    """
    jobs = list(zip(*(plan.shards for plan in plans), strict=True))
    with _runner() as runner:
        futures = [
            runner.submit(shard, {"jobs": same_file, "store": store, "inputs": inputs}) for same_file in jobs
        ]
        receipts = [_receipts(future, same_file) for future, same_file in zip(futures, jobs, strict=True)]
    return tuple(zip(*receipts, strict=True))


@contextmanager
def _runner() -> Iterator[TaskRunner[Any]]:
    address = os.environ.get(SCHEDULER)
    if address is None:
        threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=THREADS)
        with threads:
            yield threads
        return
    from dask.base import annotate
    from prefect_dask.task_runners import DaskTaskRunner

    with DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_SECONDS}) as runner:
        try:
            _ = runner.client  # connects
        except (OSError, ValueError) as error:
            raise InputError(f"{SCHEDULER}={address}: no Dask scheduler answers there: {error}") from error
        with annotate(resources={"GPU": 1}):
            yield runner


def _receipts(future: PrefectFuture[Any], jobs: Sequence[ShardJob]) -> tuple[ShardReceipt, ...]:
    """A shard's receipts. One whose workers died ends without a final state, so only "completed" counts."""
    future.wait()
    if future.state.is_completed() or future.state.is_failed():
        receipts: tuple[ShardReceipt, ...] = future.result()
        return receipts
    error = PermanentError(
        f"shard {jobs[0].file}: its Dask workers died each time it was tried; their logs say why "
        "(often memory: see what the kernel killed)"
    )
    error.add_note(f"{IN_STAGE}shard")
    raise error
