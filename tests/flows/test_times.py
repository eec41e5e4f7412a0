"""The times of a family's stages, and what overlaps."""

from itertools import count
from threading import Event
from typing import Any, cast

import pytest
from prefect import flow, task
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows import family as family_flow
from tasks.benchmarks.judge_config import Judge
from tasks.comparison.instructions import Instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.timeline import Timeline
from tasks.runtime.recorder import begin_work, record_run
from tasks.runtime.stage import stage
from tests.waiting import LIMIT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_times_of_stages_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage within a stage has its own row; what comes before `begin_work` is waiting."""
    clock = count()
    monkeypatch.setattr("tasks.runtime.recorder.monotonic", lambda: float(next(clock)))

    @stage("judge {what}")
    def judge(what: str) -> str:  # the name decides that each of its runs has a row
        begin_work()
        return what

    @stage("shard {name}")
    def shard(name: str) -> str:
        return judge(name) + judge("again")

    @flow
    def family() -> Timeline:
        with record_run("demo") as recorder:
            shard("first")
            return recorder.timeline()

    found = family()
    assert [(row.stage, row.label) for row in found.rows] == [
        ("shard", "shard"),
        ("judge", "judge first"),
        ("judge", "judge again"),
    ]
    outer, first, again = found.rows
    # the clock ticks at each look: begin of the run 0, of the shard 1, of a judging 2, its work 3, its end 4
    assert (first.wait, first.work) == (((2, 3),), ((3, 4),))
    assert (again.wait, again.work) == (((5, 6),), ((6, 7),))
    assert (outer.wait, outer.work) == ((), ((1, 2), (4, 5), (7, 8)))
    assert (found.seconds, found.in_no_stage) == (9, 2)


def test_generations_that_wait_keep_no_judging_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread of the family's flow waits for an engine; a finished generation is judged all the same."""
    released = Event()

    @stage("judge {generation}")
    def judge_at_once(
        generation: str, reference: str, judge: str, store: str, rejudge_failed: bool
    ) -> tuple[object, ...]:
        released.set()
        return generation, reference, judge, store, rejudge_failed

    @task
    def wait_for_engine() -> bool:
        return released.wait(LIMIT)

    class Finished:
        def result(self) -> tuple[str]:
            return ("answers",)

    monkeypatch.setattr(family_flow, "judge_arm", judge_at_once)
    asked = Instructions(uri="demo:some", sha256="0", count=1, answers=1, benchmark="alpaca_eval")
    answers = [family_flow._Submitted(asked, "original", 0, cast(PrefectFuture[Any], Finished()))]

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))  # type: ignore[arg-type]
    def judging() -> tuple[Any, bool]:
        waiting = wait_for_engine.submit()
        judges = {asked: Judge(model="a judge")}
        return family_flow._judge_answers(answers, judges, RunConfig(), "store"), waiting.result()

    ((judged,), in_time) = judging()
    assert judged == ("answers", asked, Judge(model="a judge"), "store", False)
    assert in_time, "the judging waited until nothing else did"
