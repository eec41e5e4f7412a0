"""A stage's progress and remaining time: lines in the run's log, and an artifact in the UI."""

import logging
import time
from contextvars import copy_context
from threading import Lock
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

__all__ = ["Progress", "run_logger"]

SECONDS_BETWEEN_LINES = 2.0
SECONDS_BETWEEN_UPDATES = 5.0  # of the artifact: each is a request to the server


def run_logger() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """The run's logger, which the Prefect UI shows; outside a run, the project's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("expo")


class Progress:
    """Counts towards a total; `advance` may be called from any thread.

    The remaining time follows from the speed since the first advance, so start-up does not count.
    A run that takes more than a few seconds also has a progress artifact.
    """

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._done = self._at_start = 0
        self._start = self._said = 0.0
        self._lock = Lock()
        self._logger = run_logger()
        self._artifact = _Artifact(unit) if TaskRunContext.get() or FlowRunContext.get() else None

    def expect(self, more: int) -> None:
        """Corrects the total of work whose end was only estimated: so much is left."""
        with self._lock:
            self._total = self._done + more

    def advance(self, amount: int) -> None:
        """Counts work that was just done; logs it at intervals."""
        if amount <= 0:
            return
        with self._lock:
            now = time.monotonic()
            self._done += amount
            if not self._start:
                self._start, self._said, self._at_start = now, now, self._done
            over = self._done - amount < self._total <= self._done
            line = self._line(now - self._start)
            if now - self._said >= SECONDS_BETWEEN_LINES or over:
                self._said = now
                self._logger.info(line)
            if self._artifact:
                self._artifact.show(
                    min(100.0, 100 * self._done / max(self._total, 1)), line, now - self._start, over
                )

    def _line(self, seconds: float) -> str:
        line = f"{self._done:,} of {max(self._total, self._done):,} {self._unit}"
        if self._done >= self._total:
            return line
        left = (self._total - self._done) * seconds / max(self._done - self._at_start, 1)
        return f"{line}, about {left:.0f} s left"


class _Artifact:
    """The bar in the UI. It is made in the run's own context, whatever thread counts."""

    def __init__(self, unit: str) -> None:
        self._key, self._context = f"expo-{unit.replace(' ', '-')}", copy_context()
        self._shown = 0.0
        self._id: UUID | None = None
        self._given_up = False

    def show(self, percent: float, line: str, seconds: float, over: bool) -> None:
        """Updates the bar at intervals; a server that refuses it does not fail the run."""
        due = seconds - self._shown >= SECONDS_BETWEEN_UPDATES
        if self._given_up or not (due or (over and self._id)):
            return
        self._shown = seconds
        try:
            if self._id is None:
                made = self._context.run(create_progress_artifact, percent, self._key, line)
                self._id = made if isinstance(made, UUID) else None
            else:
                self._context.run(update_progress_artifact, self._id, percent, line)
        except Exception as error:
            self._given_up = True
            logging.getLogger("expo").debug("no progress artifact: %s", error)
