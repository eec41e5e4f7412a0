"""Fixtures: a judge on loopback, files of answers, and the real annotations where they are given."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.judge_config import Judge
from tests.servers.judge import JudgeServer
from tests.waiting import LIMIT

Judging = Callable[..., Path]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


@pytest.fixture
def judge(server: JudgeServer) -> Judge:
    return Judge(model="longer", base_url=server.url, max_concurrency=4, retries=2, timeout_s=LIMIT)


def write_outputs(path: Path, outputs: list[str], generator: str) -> Path:
    """A file of answers to "question 0", "question 1", …"""
    rows = [
        {"instruction": f"question {index}", "output": output, "generator": generator, "dataset": "tests"}
        for index, output in enumerate(outputs)
    ]
    path.write_text(json.dumps(rows))
    return path


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
