"""Waiting for a condition: a loaded machine makes a test slower, never red."""

import time
from collections.abc import Callable

__all__ = ["LIMIT", "wait_until"]

LIMIT = 1800.0  # seconds; only what never happens takes so long


def wait_until(happened: Callable[[], object], what: str, *, every: float = 0.1) -> float:
    """Asks every `every` seconds until it has happened, at most for LIMIT; the seconds that it took."""
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < LIMIT, f"{what}: not in {LIMIT:.0f} s"
        time.sleep(every)
    return time.monotonic() - start
