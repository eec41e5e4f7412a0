"""Drill 2: kill -9 to one part at a time. Each run ends, by itself or by `prefect flow-run retry`,
with the bytes and the figures of the undisturbed one."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psutil  # type: ignore[import-untyped]
import pytest
from prefect.client.schemas.objects import FlowRun

from tests.drills.conftest import Record
from tests.drills.stage import POLL, Stage, report_of, set_up
from tests.servers.prefect import end
from tests.servers.processes import command_line, descendants, kill
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

FAMILY = "zephyr-7b-beta"
QUESTIONS = 400
OUTAGE = 60.0  # seconds without a server
Killed = Callable[[], None]


class Play:
    """A run of one family into a store of its own, and the worker that it runs on."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name
        self.worker = stage.worker(name)
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


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with set_up(tmp_path_factory.mktemp("kills"), QUESTIONS) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(stage: Stage, record: Record) -> tuple[dict[str, str], list[Any]]:
    start, play = time.monotonic(), Play(stage, "undisturbed")
    try:
        ended, retries = play.finish()
    finally:
        end(play.worker)
    record("kill: nothing", seconds=round(time.monotonic() - start), retries=retries)
    files = stage.files("undisturbed")
    assert any(name.endswith(".safetensors") for name in files) and len(files) >= 5
    return files, _figures(stage, ended, "undisturbed")


def _flow(play: Play) -> None:
    play.answering()
    for process in play.flow():
        kill(process)


def _worker(play: Play) -> None:
    """The flow goes on without it, or is ended by it; the next worker takes what is left."""
    play.answering()
    kill(psutil.Process(play.worker.pid))
    play.worker.wait()
    play.worker = play.stage.worker(play.name)


def _node(play: Play) -> None:
    """All at once, as when the power goes; heartbeats end, and the automation notices."""
    play.answering()
    for process in [psutil.Process(play.worker.pid), *descendants(play.worker.pid)]:
        kill(process)
    play.worker.wait()
    play.worker = play.stage.worker(play.name)


def _engine(play: Play) -> None:
    play.answering()
    for process in play.engines():
        kill(process)


def _server(play: Play) -> None:
    play.answering()
    play.stage.prefect.kill()
    time.sleep(OUTAGE)
    play.stage.prefect.start()


def _s3(play: Play) -> None:
    play.answering()
    play.stage.s3.kill()
    time.sleep(OUTAGE)
    play.stage.s3.start()


@pytest.mark.parametrize("fault", [_engine, _flow, _worker, _s3, _server, _node])
def test_same_bytes_and_figures(
    fault: Callable[[Play], None],
    stage: Stage,
    undisturbed: tuple[dict[str, str], list[Any]],
    record: Record,
) -> None:
    name = fault.__name__.strip("_")
    start, play = time.monotonic(), Play(stage, name)
    try:
        fault(play)
        killed = time.monotonic()
        ended, retries = play.finish()
    finally:
        end(play.worker)
    now = time.monotonic()
    record(f"kill: {name}", seconds=round(now - start), after_kill=round(now - killed), retries=retries)
    assert stage.files(name) == undisturbed[0]
    assert _figures(stage, ended, name) == undisturbed[1]


def _figures(stage: Stage, run: FlowRun, prefix: str) -> list[Any]:
    """The verdicts with all their figures, of the run's last report."""
    report = report_of(stage, run, prefix)
    assert len(report.verdicts) == 1
    return [verdict.model_dump() for verdict in report.verdicts]


def _is_engine(process: psutil.Process) -> bool:
    return "tasks.generation" in command_line(process)
