"""How far a stage is, and the time that is left: a line in the run's log every few seconds."""

import logging
import time
from threading import Lock

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

__all__ = ["Progress", "run_logger"]

SECONDS_BETWEEN_LINES = 2.0


def run_logger() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """The run's logger, which the Prefect UI shows; outside a run, the project's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("expo")


class Progress:
    """Counts towards a total; `advance` may be called from any thread.

    The time left is told from the speed since the first advance: starting up is not working.
    """

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._done = self._at_start = 0
        self._start = self._said = 0.0
        self._lock = Lock()
        self._logger = run_logger()

    def advance(self, amount: int) -> None:
        """Counts what has just been done, and says so when it is time."""
        if amount <= 0:
            return
        with self._lock:
            now = time.monotonic()
            self._done += amount
            if not self._start:
                self._start, self._said, self._at_start = now, now, self._done
            if now - self._said >= SECONDS_BETWEEN_LINES or self._done >= self._total:
                self._said = now
                self._logger.info(self._line(now - self._start))

    def _line(self, seconds: float) -> str:
        line = f"{self._done:,} of {self._total:,} {self._unit}"
        if self._done >= self._total:
            return line
        left = (self._total - self._done) * seconds / max(self._done - self._at_start, 1)
        return f"{line}, about {left:.0f} s left"
