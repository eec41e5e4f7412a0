"""How much memory the shards in the making may hold together, in this process."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition

from tasks.core.errors import InputError

__all__ = ["MemoryBudget", "memory_budget", "parse_bytes"]

VARIABLE = "EXPO_MEMORY"
DEFAULT = "1GB"
SIZE = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[kMGT]?)B?")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class MemoryBudget:
    """Lets as many holders in as fit into `size` bytes; one alone always gets in, however much it needs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: list[int] = []
        self._changed = Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Waits until there is room for `size` bytes, and holds them while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or sum(self._held) + size <= self.size)
            self._held.append(size)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(size)
                self._changed.notify_all()


@cache
def memory_budget() -> MemoryBudget:
    """The budget of this process: $EXPO_MEMORY, such as 500MB, or 1 GB.

    Raises:
        InputError: the variable holds no size.
    """
    text = os.environ.get(VARIABLE, DEFAULT)
    size = parse_bytes(text)
    if size is None:
        raise InputError(f"{VARIABLE}={text!r} is no size; write 1GB or 500MB")
    return MemoryBudget(size)


def parse_bytes(text: str) -> int | None:
    """The bytes that a text such as "5GB" or "500 MB" (powers of ten) means; None if it is no size."""
    found = SIZE.fullmatch(text)
    return round(float(found["number"]) * UNITS[found["unit"]]) if found else None
