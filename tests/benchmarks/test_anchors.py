"""Stored annotations judged again: the same pairs in part, and how far the present judge is from then."""

import json
from pathlib import Path

import pytest

from tasks.anchors import anchors
from tasks.benchmarks.alpaca_files import read_annotations
from tasks.benchmarks.anchor_sample import compared, measure
from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import InputError
from tests.benchmarks.conftest import Judging
from tests.servers.judge import JudgeServer

LONG = [f"a much longer answer {index}" for index in range(30)]
SHORT = [f"short {index}" for index in range(30)]


@pytest.fixture
def stored(judging: Judging, server: JudgeServer, tmp_path: Path) -> Path:
    """Annotations of 30 pairs and one draw, by a judge that prefers the longer."""
    path = judging([*LONG[:15], *SHORT[15:], "same"], [*SHORT[:15], *LONG[15:], "same"])
    server.bodies.clear()
    return path.rename(tmp_path / "stored.json")


def test_the_same_judge_says_the_same(
    stored: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    found = measure(stored, judge, tmp_path / "again", sample=20, advance=lambda _: None)
    assert (found.n, found.n_failed, found.agreement, found.kappa) == (20, 0, 1, 1)
    assert (found.earlier, found.present) == ("longer", "longer")
    assert len(server.bodies) == 20, "identical outputs are no question"


def test_the_sample_is_the_same_each_time(stored: Path, judge: Judge, tmp_path: Path) -> None:
    for name in ("a", "b"):
        measure(stored, judge, tmp_path / name, sample=10, advance=lambda _: None)
    a, b = ((tmp_path / name / "reference.json").read_bytes() for name in ("a", "b"))
    assert a == b and len(json.loads(a)) == 10


def test_what_is_not_judged_is_counted(
    stored: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    server.fail("400", on={"question 3"})
    found = measure(stored, judge, tmp_path / "again", sample=30, advance=lambda _: None)
    assert (found.n, found.n_failed) == (29, 1)


def test_the_stage_measures_once_for_each_occasion(
    stored: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    first = anchors.fn(str(stored), judge, store, sample=10, occasion="2026-11-24")
    assert anchors.fn(str(stored), judge, store, sample=10, occasion="2026-11-24") == first
    assert len(server.bodies) == first.usage.requests == 10
    second = anchors.fn(str(stored), judge, store, sample=10, occasion="2026-11-25")
    assert len(server.bodies) == 20, "another night asks again, or a drift would never be seen"
    assert not compared(first.annotations(), second.annotations()).drifted


def test_other_pairs_are_refused(stored: Path, tmp_path: Path) -> None:
    rows = read_annotations(stored)
    rows[4]["output_2"] += "!"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(rows))
    with pytest.raises(InputError, match="'question 4' has other outputs"):
        compared(stored, other)
    with pytest.raises(InputError, match="no such file"):
        anchors.fn(str(tmp_path / "nowhere.json"), Judge(model="m"), str(tmp_path / "store"))


@pytest.mark.slow
def test_the_real_annotations_against_a_judge_of_length(
    data: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    """The published judge preferred the reference in 95%; a judge of length alone is another one."""
    stored = data / "annotations/zephyr_0.1/annotations.json"
    found = measure(stored, judge, tmp_path / "again", sample=60, advance=lambda _: None)
    assert found.earlier == "weighted_alpaca_eval_gpt4_turbo" and found.n == 60
    assert 0 < found.earlier_win_rate < 15
    assert found.kappa is not None and found.kappa < 0.5
    with_itself = compared(stored, stored)
    assert with_itself.n == 805 and with_itself.kappa == 1
