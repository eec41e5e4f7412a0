"""Requests in flight: all judgings of a process that ask the same judge share its `max_concurrency`."""

from threading import BoundedSemaphore, Lock
from weakref import WeakValueDictionary

from tasks.benchmarks.judge_config import Judge

__all__ = ["request_slots"]

_slots: WeakValueDictionary[tuple[str, str, int], BoundedSemaphore] = WeakValueDictionary()
_lock = Lock()


def request_slots(judge: Judge) -> BoundedSemaphore:
    """One slot for each request in flight to a judge's endpoint and model; kept while somebody uses them."""
    with _lock:
        return _slots.setdefault(
            (judge.url, judge.model, judge.max_concurrency), BoundedSemaphore(judge.max_concurrency)
        )
