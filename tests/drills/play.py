"""A run of one family that is disturbed while its engine answers, and compared with an undisturbed one."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import psutil  # type: ignore[import-untyped]
from prefect.client.schemas.objects import FlowRun

from tests.drills.stage import POLL, Stage, report_of
from tests.servers.prefect import end
from tests.servers.processes import command_line, descendants
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

__all__ = ["Outcome", "Play", "run_of_one_family"]

FAMILY = "zephyr-7b-beta"
QUESTIONS = 400


class Outcome(NamedTuple):
    """What a run leaves: sha256 by file, the verdicts with all their figures, and what it took."""

    files: dict[str, str]
    figures: list[Any]
    taken: dict[str, int]


class Play:
    """A run of one family into a store of its own, and the worker that it runs on."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage.asking(QUESTIONS), name
        self.worker = self.stage.worker(name)
        self.run = self.begin()

    def begin(self) -> UUID:
        store = f"s3://{BUCKET}/{self.name}"
        return self.stage.begin("expo/all-models", families=[FAMILY], judge=self.stage.judge, store=store)

    def flow(self) -> list[psutil.Process]:
        """The processes that run the flow: all that the worker has started, the engines left out."""
        return [process for process in descendants(self.worker.pid) if not _is_engine(process)]

    def engines(self) -> list[psutil.Process]:
        return [process for process in descendants(self.worker.pid) if _is_engine(process)]

    def journal_lines(self) -> int:
        """Whole lines of the answers' journals: a header and a batch are two."""
        work = self.stage.folder / "cache" / "work" / BUCKET / self.name / "generations"
        return max((path.read_bytes().count(b"\n") for path in work.glob("*/answers.jsonl")), default=0)

    def answering(self) -> None:
        """Waits until a batch has been answered and an engine is at the next."""
        wait_until(lambda: self.journal_lines() >= 2 and bool(self.engines()), f"{self.name}: a batch")

    def finish(self) -> tuple[FlowRun, int]:
        """The run's end, and how many retries by hand it took."""
        for retries in range(3):
            ended = self.stage.ended(self.run)
            if ended.state and ended.state.is_completed():
                return ended, retries
            self.stage.retry(self.run)
            wait_until(lambda: not self.stage.is_over(self.run), f"{self.name}: a retry", every=POLL)
        raise AssertionError(f"{self.name}: {ended.state}\n{self.stage.log(self.name)}")


def run_of_one_family(stage: Stage, name: str, fault: Callable[[Play], None] | None = None) -> Outcome:
    """A run into the store `name` to its end; `fault` disturbs it."""
    start, play = time.monotonic(), Play(stage, name)
    try:
        if fault:
            fault(play)
        disturbed = time.monotonic()
        ended, retries = play.finish()
    finally:
        end(play.worker)
    now = time.monotonic()
    report = report_of(stage, ended, name)
    assert len(report.verdicts) == 1
    return Outcome(
        stage.files(name),
        [verdict.model_dump() for verdict in report.verdicts],
        {"seconds": round(now - start), "after_kill": round(now - disturbed), "retries": retries},
    )


def _is_engine(process: psutil.Process) -> bool:
    return "tasks.generation" in command_line(process)
