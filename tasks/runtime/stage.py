"""The `stage` decorator over Prefect's `task`, which every stage shares.

A stage is retried after an error that may pass, never after a permanent one. Prefect caches
nothing: a stage has nothing to do where its artefact's manifest exists, and only there.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import TaskRunNameCallbackWithParameters, exponential_backoff

from tasks.core.errors import PermanentError
from tasks.runtime.recorder import record_stage

__all__ = ["IN_STAGE", "RETRIES", "failed_stage", "may_pass", "stage"]

RETRIES = 3
IN_STAGE = "in stage "

P = ParamSpec("P")
R = TypeVar("R")


def may_pass(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed stage is retried: after any error but a PermanentError."""
    return not isinstance(state.data, PermanentError)


def stage(
    run_name: str | Callable[..., str], retries: int = RETRIES
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Makes a function a Prefect task with this run name.

    The name is a format string of the function's parameters, or a function of some of them, by their names.

    A failed run is tried again after about 2, 4 and 8 seconds, with jitter, if it `may_pass`.
    Its error says which stage it comes from: see `failed_stage`.
    """

    def as_task(function: Callable[P, R]) -> Task[P, R]:
        return _Stage(
            _noted(function),
            task_run_name=run_name if isinstance(run_name, str) else _named_by(run_name),
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.5,
            retry_condition_fn=may_pass,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    return as_task


def _named_by(run_name: Callable[..., str]) -> TaskRunNameCallbackWithParameters:
    """A function of all parameters, as Prefect calls it."""
    wanted = tuple(signature(run_name).parameters)

    def named(parameters: dict[str, Any]) -> str:
        return run_name(*(parameters[name] for name in wanted))

    return cast(TaskRunNameCallbackWithParameters, named)


class _Stage(Task[P, R]):
    """A task that travels by its name: Dask's workers import it, rather than getting a copy of its code."""

    def __reduce__(self) -> str:
        return str(self.fn.__qualname__)


def failed_stage(error: object) -> str:
    """The stage that an error comes from, "" if it comes from none."""
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith(IN_STAGE)]
    return notes[0].removeprefix(IN_STAGE) if notes else ""


def _noted(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def noted(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with record_stage(function.__name__):
                return function(*args, **kwargs)
        except Exception as error:
            error.add_note(IN_STAGE + function.__name__)
            raise

    return noted
