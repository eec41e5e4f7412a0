"""Fixtures: a judge on loopback, files of answers, and the real annotations where they are given."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.judge_config import Judge
from tests.benchmarks.answers import SHORT, write_outputs
from tests.servers.judge import JudgeServer
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from tests.benchmarks.judged_run import Run

Judging = Callable[..., Path]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


@pytest.fixture
def judge(server: JudgeServer) -> Judge:
    return Judge(model="longer", base_url=server.url, max_concurrency=4, retries=2, timeout_s=LIMIT)


@pytest.fixture
def judging(tmp_path: Path, judge: Judge) -> Judging:
    """judging(answers, references, **changes of the judge): judges two lists of outputs in one folder."""

    def run(answers: list[str], references: list[str], **changes: object) -> Path:
        return judge_answers(
            write_outputs(tmp_path / "answers.json", answers, "model"),
            write_outputs(tmp_path / "reference.json", references, "reference"),
            judge.model_copy(update=changes),
            tmp_path / "judging",
            advance=lambda _: None,
        )

    return run


@pytest.fixture
def run(tmp_path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> "Run":
    """30 instructions with short reference outputs, a judge that likes long answers, and an empty store."""
    # stages, which bring Prefect
    from tasks.instructions import instructions as find
    from tests.benchmarks.judged_run import Run

    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    reference = write_outputs(tmp_path / "reference.json", SHORT, "reference")
    return Run(str(tmp_path / "store"), judge, find.fn(str(reference)))
