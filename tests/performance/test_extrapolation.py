"""The measurements work, end to end, on checkpoints too small to say anything."""

import json
from pathlib import Path

import pytest

from tests.performance import planning, synthetic
from tests.performance.accuracy import accuracy
from tests.performance.extrapolation import main
from tests.performance.measure import Program, run_process
from tests.performance.parts import measure_parts


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer of a model of a few hundred kilobytes, in two shards."""
    monkeypatch.setattr(synthetic, "HIDDEN", 64)
    monkeypatch.setattr(synthetic, "MIDDLE", 128)
    monkeypatch.setattr(synthetic, "KEYS", 32)
    monkeypatch.setattr(synthetic, "VOCABULARY", 512)
    monkeypatch.setattr(synthetic, "SHARD_BYTES", 100_000)


@pytest.mark.slow
def test_every_program_writes_the_model(tmp_path: Path, small: None) -> None:
    """Ours, the authors' way and the plain loop: each as exact as its arithmetic allows."""
    options = ["--gigabytes", "0.0003", "--rounds", "1", "--states", "warm", "--no-mergekit"]
    main([*options, "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")])
    (found,) = (tmp_path / "results").glob("*.json")
    rows = {row["program"]: row for row in json.loads(found.read_text())["rows"]}
    assert rows["expo extrapolate"]["off_ties"] == rows["safe-open"]["off_ties"] == 1
    assert 0.9 < rows["authors"]["off_ties"] < 1
    assert rows["floor"]["rss"] < rows["expo extrapolate"]["rss"]
    assert found.with_suffix(".png").stat().st_size > 0


def test_parts_leave_something_out(tmp_path: Path, small: None) -> None:
    """Every variant runs, on the same files."""
    found = measure_parts(tmp_path, 0.0003, rounds=1)
    left_out = {"arithmetic", "sha256", "statistics", "either"}
    assert set(found) == {"floor", "whole", *(f"without {part}" for part in left_out)}


def test_accuracy_sees_a_wrong_bit(tmp_path: Path, small: None) -> None:
    """The aligned checkpoint itself is no extrapolation at α = 0.3, but it is one at α = 0."""
    aligned, sft = synthetic.make_pair(tmp_path, 0.0003)
    assert accuracy(aligned, sft, aligned, 0.0).off_ties == 1
    assert accuracy(aligned, sft, aligned, 0.3).off_ties < 0.5


def test_a_program_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit status 1\nno room"):
        run_process(Program("broken", ("sh", "-c", "echo no room; exit 3")), tmp_path)


def test_planning_is_measured_for_each_kind_of_pair(capsys: pytest.CaptureFixture[str]) -> None:
    planning.main(["--rounds", "1", "--layers", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" CPU")[0].rpartition(": ")[0] for line in lines] == [
        "723 tensors, a pair of a 70B",
        "389 tensors, a pair that fits",
        "389 tensors, a pair under a wrapper's prefix",
        "389 tensors, a pair of other names",
    ]
    assert all(int(line.split()[-2]) <= 20 for line in lines)
