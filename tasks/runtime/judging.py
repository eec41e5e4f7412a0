"""What a judging holds of shared limits while it lasts, and the event of a budget that is used up."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.errors import OverBudgetError
from tasks.runtime.events import OVERSPENT, emit
from tasks.runtime.limits import GPUS, JUDGE_REQUESTS, hold

__all__ = ["judge_limits", "reports_overspending"]


@contextmanager
def judge_limits(model: str, requests: int, gpus: int) -> Iterator[None]:
    """Holds what judging takes of the limits that all runs of a Prefect server share."""
    with reports_overspending(model), hold(JUDGE_REQUESTS, requests), hold(GPUS, gpus):
        yield


@contextmanager
def reports_overspending(model: str) -> Iterator[None]:
    """Emits an event for whoever pays, where a judge's budget does not allow what the block does."""
    try:
        yield
    except OverBudgetError as error:
        emit(OVERSPENT, model, str(error))
        raise
