"""Slots are computed by several threads in any order, and hashed in file order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

__all__ = ["ReorderBuffer", "StoppedError"]

Buffers = TypeVar("Buffers")
Made = TypeVar("Made")


class StoppedError(Exception):
    """Another thread failed; its error says why."""


class ReorderBuffer(Generic[Buffers, Made]):
    """Hands out slot numbers with buffers to make them in, and takes the made slots in order.

    A slot that is made early waits in its buffers and does not block its thread; the thread that
    makes the next one in order takes the waiting ones too. A number is handed out together with
    its buffers, so the lowest one can always be made.
    """

    def __init__(
        self, count: int, buffers: Sequence[Buffers], take: Callable[[int, Buffers, Made], None]
    ) -> None:
        self._numbers = iter(range(count))
        self._free = list(buffers)
        self._take = take
        self._made: dict[int, tuple[Buffers, Made]] = {}
        self._next = 0
        self._taking = self._stopped = False
        self._changed = Condition()

    def slots(self) -> Iterator[tuple[int, Buffers]]:
        """Numbers for one thread, until none is left.

        Raises:
            StoppedError: another thread failed.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._free or self._stopped)
                if self._stopped:
                    raise StoppedError
                number = next(self._numbers, None)
                if number is None:
                    return
                buffers = self._free.pop()
            yield number, buffers

    def put(self, number: int, buffers: Buffers, made: Made) -> None:
        """A slot is made: it is taken now, or by the thread that makes those before it."""
        with self._changed:
            self._made[number] = buffers, made
            if self._taking:
                return
            self._taking = True
            while (slot := self._made.pop(self._next, None)) and not self._stopped:
                self._changed.release()
                try:
                    self._take(self._next, *slot)
                finally:
                    self._changed.acquire()
                self._next += 1
                self._free.append(slot[0])
                self._changed.notify_all()
            self._taking = False

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
