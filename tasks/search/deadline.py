"""The time that one try of a search may take."""

import time
from collections.abc import Callable

from tasks.core.errors import OverBudgetError

__all__ = ["Deadline"]


class Deadline:
    """A limit of minutes from now on; without one it never passes."""

    def __init__(self, minutes: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes, self._clock = minutes, clock
        self._start = clock()

    def lift(self) -> None:
        """From now on there is no limit: what was found is only to be written down."""
        self._minutes = None

    def check(self) -> None:
        """
        Raises:
            OverBudgetError: the limit has passed.
        """
        if self._minutes is not None and self._clock() - self._start > 60 * self._minutes:
            raise OverBudgetError(f"the limit of {self._minutes:g} minutes has passed")
