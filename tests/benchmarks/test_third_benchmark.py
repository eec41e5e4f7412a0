"""A benchmark that only its own module and the table know: its judging, verdict, report and commands.

`tests/flows/test_third_benchmark.py` has the same from the flow on.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.arm import Arm, ArmName
from tasks.comparison.instructions import find_instructions
from tasks.comparison.judges import find_judges
from tasks.comparison.results import Generation, Judgments
from tasks.core.families import find_family
from tasks.generation.answers import answers_file
from tasks.generation.settings import GenerationSettings
from tasks.judge import judge as judge_stage
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown
from tasks.reports.run_report import RunReport
from tasks.reports.stored import read_family_report
from tasks.reports.text import terminal_table
from tasks.stores.artefact import Store
from tasks.stores.disk import sha256_of
from tasks.verdict import verdict as verdict_stage
from tests.benchmarks.judged_run import RECIPE, summary_of
from tests.benchmarks.sums import SUMS

FAMILY = find_family("zephyr-7b-beta")


@pytest.fixture(autouse=True)
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")


def judged(store: str, name: ArmName, right: bool) -> Judgments:
    asked = find_instructions("sums")
    assert (asked.benchmark, asked.count, asked.answers) == ("sums", 10, 10)
    outputs = [f"It is {answer if right else 7}." for answer in SUMS.values()]
    artefact = Store(store).artefact("generations", name)
    part = artefact.scratch() / "answers"
    rows = [
        {"instruction": question, "output": output, "generator": name}
        for question, output in zip(SUMS, outputs, strict=True)
    ]
    part.write_text(json.dumps(rows))
    summary = summary_of(outputs, sha256_of(part))
    artefact.put(part, answers_file("sums", find_benchmark("sums").form))
    generation = Generation(
        arm=Arm(name=name, recipe=RECIPE),
        uri=artefact.uri,
        fingerprint=summary.answers_sha256,
        settings=GenerationSettings(),
        summary=summary,
        benchmark="sums",
    )
    judge = find_judges(FAMILY, None, ("sums",))["sums"]
    return judge_stage.fn(generation, asked, judge, store)


def test_from_the_answers_to_the_commands(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    arms = (judged(store, "original", False), judged(store, "expo", True))
    assert [(judgments.n_total, judgments.n_failed, judgments.usage.requests) for judgments in arms] == [
        (10, 0, 0)
    ] * 2
    family = read_family_report(verdict_stage.fn(FAMILY, RECIPE, arms, (), store))
    (verdict,) = family.verdicts
    assert (verdict.benchmark, verdict.judge) == ("sums", "last number, version 1")
    assert (verdict.original.score, verdict.expo.score, verdict.n_judged) == (0, 100, 10)
    assert verdict.outcome == "better" and verdict.published is None
    assert [row.benchmark for row in family.dialogues] == ["sums"] * 10

    run = RunReport(name="r", created="2026-11-27T09:00:00+00:00", code_version="1", families=(family,))
    page = render_html(run)
    assert "Ten sums" in page and "accuracy, %" in page and '"verified"' in page
    assert "accuracy 0.0 → 100.0" in render_markdown(run) and "Ten sums" in terminal_table(run)

    from flows.cli.main import app

    files = [str(judgments.path()) for judgments in arms]
    scored = CliRunner().invoke(app, ["score", "sums", files[1], "--json"])
    assert json.loads(scored.output)["accuracy"] == 100, scored.output
    compared = CliRunner().invoke(app, ["compare", *files])
    assert "B against A: better" in compared.output, compared.output
