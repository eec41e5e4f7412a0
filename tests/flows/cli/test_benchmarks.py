"""The commands about benchmarks, most in this process; the judge of `anchors` is on loopback."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.benchmarks.registry import data_files
from tests.benchmarks.synthetic import write_ratings
from tests.flows.cli.command import Command
from tests.servers.judge import JudgeServer
from tests.waiting import LIMIT

NAMES = ("zephyr_0.05", "zephyr_0.1")


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


def expo_data(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: libraries read these variables when they are imported."""
    command = [sys.executable, "-m", "flows.cli", "data", *map(str, arguments)]
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment)


@pytest.fixture(scope="module")
def mt_bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Judgments of two models over 80 questions; the second is 0.5 better in each turn."""
    return write_ratings(tmp_path_factory.mktemp("mt_bench"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_score_gives_the_official_figures(expo: Command, data: Path, name: str) -> None:
    done = expo("score", "alpaca_eval", data / f"annotations/{name}/annotations.json", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    with (data / "annotations/leaderboard.csv").open() as file:
        official = {row[""]: row for row in csv.DictReader(file)}[name]
    for field in ("win_rate", "standard_error", "discrete_win_rate"):
        assert found[field] == pytest.approx(float(official[field]), abs=1e-6)
    for field, column in (("n_total", "n_total"), ("n_draws", "n_draws"), ("mean_length", "avg_length")):
        assert found[field] == int(official[column])


@pytest.mark.slow
def test_scores_as_tables(expo: Command, data: Path, mt_bench: tuple[Path, Path]) -> None:
    done = expo("score", "alpaca_eval", data / "annotations/zephyr_0.1/annotations.json")
    assert "5.94" in done.stdout and "df_gamed.csv is not" in done.stdout
    done = expo("score", "mt_bench", mt_bench[0])
    assert done.returncode == 0 and "6.00" in done.stdout and "humanities" in done.stdout


@pytest.mark.slow
def test_compare_of_two_real_files_is_paired(expo: Command, data: Path) -> None:
    """Facts: difference 0.93, paired standard error 0.55, interval −0.12 to 2.02, p 0.087."""
    files = [data / f"annotations/{name}/annotations.json" for name in NAMES]
    done = expo("compare", *files, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    found = verdict["difference"]
    assert found["mean"] == pytest.approx(0.93, abs=0.005)
    assert found["standard_error"] == pytest.approx(0.55, abs=0.005)
    assert (found["lower"], found["upper"]) == (pytest.approx(-0.12, abs=0.06), pytest.approx(2.02, abs=0.06))
    assert found["p_value"] == pytest.approx(0.087, abs=0.012)
    assert verdict["word"] == "no evidence" and verdict["n_judged"] == 805
    swapped = json.loads(expo("compare", *files[::-1], "--json").stdout)["verdict"]["difference"]
    assert swapped["mean"] == pytest.approx(-found["mean"])


def test_compare_of_mt_bench_counts_questions(expo: Command, mt_bench: tuple[Path, Path]) -> None:
    done = expo("compare", *mt_bench)
    assert done.returncode == 0, done.stderr
    assert "6.00 → 6.50" in done.stdout and "80 units" in done.stdout
    assert "B against A: better" in done.stdout


def test_files_that_cannot_be_compared_are_refused(
    expo: Command, data: Path, mt_bench: tuple[Path, Path], tmp_path: Path
) -> None:
    real = data / "annotations/zephyr_0.1/annotations.json"
    rows = json.loads(real.read_text())
    for name, change in (("judge", {"annotator": "another"}), ("reference", {"output_1": "another"})):
        (tmp_path / f"{name}.json").write_text(json.dumps([{**row, **change} for row in rows]))
    for other, message in (
        (mt_bench[0], "the second MT-Bench's; give two of a kind"),
        (tmp_path / "judge.json", "figures by different judges are not compared"),
        (tmp_path / "reference.json", "judged against two references"),
    ):
        done = expo("compare", real, other)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_scores_load_neither_prefect_nor_vllm(mt_bench: tuple[Path, Path]) -> None:
    code = (
        "import sys; from flows.cli.main import main; sys.argv = {!r}\n"
        "try:\n    main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    )
    for arguments in (["score", "mt_bench", str(mt_bench[0])], ["compare", *map(str, mt_bench)]):
        script = code.format(["expo", *arguments])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT)
        modules = set(eval(done.stdout.splitlines()[-1]))
        assert "tasks.benchmarks.mt_bench_score" in modules, done.stderr
        assert not modules & {"prefect", "vllm", "torch", "transformers"}


def test_data_is_taken_from_a_folder_and_its_state_is_shown(data: Path, tmp_path: Path) -> None:
    own = {"EXPO_CACHE": str(tmp_path / "cache"), "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = expo_data("status", **own)
    assert done.returncode == 1 and done.stdout.count("not here") == len(data_files())
    done = expo_data("fetch", "--from", data, **own)
    assert done.stdout.count(": taken") >= 4, done.stderr
    assert f"{tmp_path}/cache/data" in done.stdout
    done = expo_data("fetch", "--from", tmp_path / "nowhere", **own)
    assert done.returncode == 2 and "no such folder" in done.stderr


@pytest.mark.slow
def test_anchors_say_how_far_a_judge_is_from_the_published_one(
    expo: Command, data: Path, server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_STORE", str(tmp_path))
    stored = data / "annotations/zephyr_0.1/annotations.json"
    options = ("--judge-model", "longer", "--judge-url", server.url, "--sample", "40")
    done = expo("anchors", stored, *options)
    assert done.returncode == 0, done.stderr
    assert "longer agrees with weighted_alpaca_eval_gpt4_turbo in" in done.stdout
    assert "kappa" in done.stdout and len(server.bodies) == 40
    again = expo("anchors", stored, *options, "--json")
    assert json.loads(again.stdout)["agreement"]["n"] == 40 and len(server.bodies) == 40
