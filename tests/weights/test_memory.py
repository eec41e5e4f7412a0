"""The memory budget: who gets in, who waits, and that every shard in the making asks for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

import pytest

from tasks.core.errors import CorruptError, InputError
from tasks.stores.artefact import Artefact
from tasks.weights import shard_writer
from tasks.weights.extrapolation import extrapolate
from tasks.weights.memory import MemoryBudget, memory_budget, parse_bytes
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair


def test_holders_never_exceed_the_budget() -> None:
    budget, lock, held, most = MemoryBudget(10), Lock(), 0, 0

    def work(size: int) -> None:
        nonlocal held, most
        with budget.hold(size):
            with lock:
                held += size
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 5] * 20))
    assert held == 0
    assert 5 <= most <= 10


def test_one_alone_gets_in_however_large() -> None:
    with MemoryBudget(10).hold(1000):
        pass


def test_room_is_given_back_after_an_error() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(CorruptError), budget.hold(10):
        raise CorruptError("damaged")
    with budget.hold(10):
        pass


def test_second_waits_for_the_first() -> None:
    budget, inside = MemoryBudget(10), Event()

    def second() -> None:
        with budget.hold(6):
            inside.set()

    with ThreadPoolExecutor(1) as pool:
        with budget.hold(6):
            pool.submit(second)
            assert not inside.wait(0.05)
        assert inside.wait(LIMIT)


def test_every_shard_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget for none lets shards through one by one: the job is slower, and its bytes are the same."""
    wanted, aligned, sft = pair(tmp_path)
    plan, budget = make_plan(wanted, aligned, sft), MemoryBudget(1)
    asked: list[MemoryBudget] = []
    expected = extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "expected")))

    def ask() -> MemoryBudget:
        asked.append(budget)
        return budget

    monkeypatch.setattr(shard_writer, "memory_budget", ask)
    assert (
        extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")), options=PassOptions(workers=3))
        == expected
    )
    assert len(asked) == len(plan.shards)


def test_budget_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    memory_budget.cache_clear()
    monkeypatch.setenv("EXPO_MEMORY", "much")
    with pytest.raises(InputError, match="EXPO_MEMORY='much' is no size"):
        memory_budget()
    monkeypatch.setenv("EXPO_MEMORY", "500 MB")
    assert memory_budget() is memory_budget()
    memory_budget.cache_clear()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("1.5 kB", 1500),
        ("7", 7),
        ("2M", 2 * 10**6),
        ("", None),
        ("GB", None),
        ("-1", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_bytes(text) == size
