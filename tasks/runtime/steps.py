"""Parts of a stage as task runs of their own, so that the UI shows when each ran and which one failed."""

from collections.abc import Callable
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext

__all__ = ["run_step"]

T = TypeVar("T")


def run_step(kind: str, name: str, work: Callable[[], T]) -> T:
    """What `work` returns, run as a task of this kind under this name; outside a run without any.

    It is not retried: its stage is.
    """
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return work()

    @task(name=kind, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
    def step() -> T:
        return work()

    return step()
