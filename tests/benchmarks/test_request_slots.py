"""Judgings at once by one judge have as many requests in flight as it allows, together."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock

import pytest

from tasks.benchmarks.asking import ask_all
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import Journal
from tasks.benchmarks.request_slots import request_slots
from tests.servers.judge import Body, JudgeServer

LATENCY = 0.05  # seconds, in which requests that nothing keeps apart meet


class Counter:
    """Answers after the latency, and knows how many requests were in flight at most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock, self._never = Lock(), Event()

    def __call__(self, _: Body) -> str:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._never.wait(LATENCY)
        with self._lock:
            self._now -= 1
        return "Rating: [[7]]"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_two_judgings_at_once_share_what_the_judge_allows(
    judge: Judge, server: JudgeServer, tmp_path: Path, concurrency: int
) -> None:
    server.says = counter = Counter()

    def rate(judging: str) -> int:
        # another share of the run's budget, and another seed, are the same endpoint
        by = judge.model_copy(update={"max_concurrency": concurrency, "seed": len(judging)})
        requests = [
            {"model": "m", "messages": [{"role": "user", "content": f"{judging} {n}"}], "max_tokens": 9}
            for n in range(9)
        ]
        with Journal(tmp_path / judging) as journal:
            return len(ask_all(requests, by, journal, defect=lambda _: "", advance=lambda _: None))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(rate, ("first", "second one"))) == [9, 9]
    assert 0 < counter.most <= concurrency


def test_another_judge_has_slots_of_its_own(judge: Judge) -> None:
    slots = request_slots(judge)
    assert request_slots(judge.model_copy(update={"max_cost": None, "rounds": 1})) is slots
    assert request_slots(judge.model_copy(update={"model": "shorter"})) is not slots
    assert request_slots(judge.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})) is not slots
