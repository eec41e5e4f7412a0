"""Numbered work that may be done in any order, with a part that has to be done in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

__all__ = ["StoppedError", "Turns"]


class StoppedError(Exception):
    """Another thread failed; its error is the one to look at."""


class Turns:
    """Lets threads through one at a time, by number from 0 on."""

    def __init__(self) -> None:
        self._next = 0
        self._stopped = False
        self._changed = Condition()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Waits until every lower number had its turn.

        Raises:
            StoppedError: a thread failed, so the turn may never come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next == number)
            if self._stopped:
                raise StoppedError
            yield
            self._next += 1
            self._changed.notify_all()

    @contextmanager
    def stop_on_error(self) -> Iterator[None]:
        """Stops all threads when the work inside fails."""
        try:
            yield
        except BaseException:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            raise
