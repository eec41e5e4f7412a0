"""The limits of an engine: a GPU of the cluster is held only by who can use it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from tasks.runtime import limits
from tasks.runtime.limits import GPUS, hold_engine
from tests.waiting import LIMIT


class Turns:
    """The turns of a process whose engine is taken until `free` is set."""

    def __init__(self) -> None:
        self.asked, self.free = Event(), Event()

    def __enter__(self) -> None:
        self.asked.set()
        assert self.free.wait(LIMIT)

    def __exit__(self, *_: object) -> None:
        pass


def test_who_waits_for_an_engine_of_its_process_holds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[str, int]] = []

    @contextmanager
    def hold(limit: str, count: int) -> Iterator[None]:
        held.append((limit, count))
        yield

    turns = Turns()
    monkeypatch.setattr(limits, "ENGINE_TURNS", turns)
    monkeypatch.setattr(limits, "hold", hold)

    def work() -> list[tuple[str, int]]:
        with hold_engine(4):
            return list(held)

    with ThreadPoolExecutor(1) as threads:
        worked = threads.submit(work)
        assert turns.asked.wait(LIMIT)
        assert not held, "the GPUs are free while the engine of this process is not"
        turns.free.set()
        assert worked.result() == [(GPUS, 4)]
