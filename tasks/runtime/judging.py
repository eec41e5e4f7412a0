"""The shared limits that a judging holds while it lasts, and the event of an exhausted budget."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.errors import OverBudgetError
from tasks.runtime.events import OVERSPENT, emit
from tasks.runtime.limits import GPUS, JUDGE_REQUESTS, hold

__all__ = ["judge_limits", "reports_overspending"]


@contextmanager
def judge_limits(model: str, requests: int, gpus: int) -> Iterator[None]:
    """Holds the slots that judging takes of limits that all runs of a Prefect server share."""
    with reports_overspending(model), hold(JUDGE_REQUESTS, requests), hold(GPUS, gpus):
        yield


@contextmanager
def reports_overspending(model: str) -> Iterator[None]:
    """Emits an event when the block exceeds a judge's budget."""
    try:
        yield
    except OverBudgetError as error:
        emit(OVERSPENT, model, str(error))
        raise
