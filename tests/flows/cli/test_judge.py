"""`expo judge`: two files of answers to a verdict and a page, by a judge on loopback, also after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import app
from tasks.core.errors import InputError, OverBudgetError, PermanentError, RetryableError
from tasks.reports.judged import JudgedReport
from tests.benchmarks.answers import write_outputs
from tests.benchmarks.length_judge import by_length
from tests.benchmarks.synthetic import ARENA, CATEGORIES, arena_answers, take_for_pinned
from tests.servers.judge import JudgeServer
from tests.waiting import LIMIT

ITEMS = 24
SHORT = [f"short {index}" for index in range(ITEMS)]
LONG = [f"a much longer answer {index}" for index in range(ITEMS)]
MIDDLE = [f"middling {index}" for index in range(ITEMS)]
Judging = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        server.says = by_length
        yield server


@pytest.fixture
def judging(tmp_path: Path, server: JudgeServer) -> Judging:
    """judging(A, B, options…): the command, in this process, with a store of the test's."""

    def run(*arguments: object) -> Result:
        command = ["judge", *map(str, arguments), "--judge-model", "longer", "--judge-url", server.url]
        command += ["--store", str(tmp_path / "store"), "--judge-retries", "0"]
        return CliRunner().invoke(app, command)

    return run


@pytest.fixture
def alpaca(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A, B and reference outputs."""
    return (
        write_outputs(tmp_path / "a.json", SHORT, "model-a"),
        write_outputs(tmp_path / "b.json", LONG, "model-b"),
        write_outputs(tmp_path / "reference.json", MIDDLE, "reference"),
    )


def report_of(result: Result) -> tuple[JudgedReport, str]:
    """The stored report, and its page."""
    page = Path(result.output.rpartition("report: ")[2].strip())
    return JudgedReport.model_validate_json((page.parent / "report.json").read_text()), page.read_text()


def test_alpaca_evals_answers_to_a_verdict_and_a_page(
    judging: Judging, server: JudgeServer, alpaca: tuple[Path, Path, Path]
) -> None:
    a, b, reference = alpaca
    done = judging(a, b, "--reference", reference)
    assert done.exit_code == 0, done.output
    assert "model-b is better than model-a: win rate 10.0 → 90.0, +80.00 percentage points" in done.output
    report, page = report_of(done)
    assert (report.names, report.verdict.judge, report.verdict.n_judged) == (
        ("model-a", "model-b"),
        "longer",
        ITEMS,
    )
    assert "model-b against model-a" in page and "model-b better" in page and "ExPO" not in page
    assert len(server.bodies) == 2 * ITEMS
    again = judging(a, b, "--reference", reference)
    assert again.output == done.output and len(server.bodies) == 2 * ITEMS  # nobody is asked twice


def test_directly_in_both_orders(
    judging: Judging, server: JudgeServer, alpaca: tuple[Path, Path, Path]
) -> None:
    done = judging(alpaca[0], alpaca[1], "--direct")
    assert "win rate 50.0 → 90.0" in done.output, done.output
    assert len(server.bodies) == 2 * ITEMS


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def _pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    take_for_pinned(monkeypatch)


def pinned_arena(tmp_path: Path) -> tuple[Path, Path]:
    outputs = {"a": ["brief"] * len(ARENA), "b": ["a long and thorough answer " * 40] * len(ARENA)}
    a, b = (write_lines(tmp_path / f"{n}.jsonl", arena_answers(f"model-{n}", outputs[n])) for n in outputs)
    return a, b


@pytest.mark.usefixtures("_pinned")
def test_arena_hards_answers_against_the_baselines(
    judging: Judging, server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.comparison.stored_answers.sha256_of", lambda path: f"of {path.name}")
    done = judging(*pinned_arena(tmp_path))
    assert "model-b is better than model-a: score 0.0 → 100.0" in done.output, done.output
    assert len(server.bodies) == 4 * len(ARENA)
    report, page = report_of(done)
    assert report.verdict.original.categories == {"hard_prompt": 0, "creative_writing": 0}
    assert "Arena-Hard v2" in page and "style-controlled" in page
    assert report.answers[0].reference.startswith("A solution, step by step.")


def test_arena_hards_form_directly_on_prompts_of_ones_own(
    judging: Judging, server: JudgeServer, tmp_path: Path
) -> None:
    done = judging(*pinned_arena(tmp_path), "--direct")
    assert "win rate 50.0 → 100.0" in done.output, done.output
    report, page = report_of(done)
    assert re.fullmatch(r"prompts@[0-9a-f]{12}", report.verdict.benchmark)
    assert f"own prompts {report.verdict.benchmark[8:]}" in page
    assert len(server.bodies) == 2 * len(ARENA)


@pytest.mark.usefixtures("_pinned")
def test_mt_benchs_answers_are_rated(
    judging: Judging, server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.comparison.stored_answers.sha256_of", lambda path: f"of {path.name}")
    server.says = lambda body: "[[8]]" if "fine" in body["messages"][-1]["content"] else "[[4]]"
    paths = [
        write_lines(
            tmp_path / f"{text}.jsonl",
            [
                {"question_id": 81 + 10 * n, "model_id": f"model-{text}", "choices": [{"turns": [text] * 2}]}
                for n in range(len(CATEGORIES))
            ],
        )
        for text in ("poor", "fine")
    ]
    done = judging(*paths)
    assert "model-fine is better than model-poor: rating 4.00 → 8.00" in done.output, done.output
    refused = judging(*paths, "--direct")
    assert isinstance(refused.exception, InputError) and "MT-Bench rates each answer" in str(
        refused.exception
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda rows: rows[:-1], "b.json: no answer to item 23 of the reference: 'question 23'"),
        (lambda rows: [*rows, rows[0]], "b.json: item 24 has the same instruction as item 0"),
        (
            lambda rows: [{**rows[0], "instruction": "other?"}, *rows[1:]],
            "b.json: item 0 has an instruction that the reference has not: 'other\\?'",
        ),
    ],
)
def test_answers_to_other_questions_are_refused_before_anybody_is_asked(
    judging: Judging,
    server: JudgeServer,
    alpaca: tuple[Path, Path, Path],
    rows: Callable[[list[Any]], list[Any]],
    message: str,
) -> None:
    a, b, reference = alpaca
    b.write_text(json.dumps(rows(json.loads(b.read_text()))))
    for options in (("--reference", reference), ("--direct",)):
        refused = judging(a, b, *options).exception
        assert isinstance(refused, InputError) and re.search(message, str(refused)), refused
        assert "\n" not in str(refused)
    assert server.bodies == []


def test_two_forms_and_no_form_are_refused(judging: Judging, alpaca: tuple[Path, Path, Path]) -> None:
    other = write_lines(alpaca[0].with_name("other.jsonl"), [{"uid": "1", "messages": []}])
    assert "give two of a kind" in str(judging(alpaca[0], other).exception)
    unknown = write_lines(alpaca[0].with_name("unknown.jsonl"), [{"question": "?"}])
    assert "answers of no form that is known" in str(judging(unknown, unknown).exception)


def test_a_budget_that_both_together_pass(
    judging: Judging, server: JudgeServer, alpaca: tuple[Path, Path, Path]
) -> None:
    a, b, reference = alpaca
    refused = judging(a, b, "--reference", reference, "--max-judge-requests", "47").exception
    assert isinstance(refused, OverBudgetError) and "pass the limit of 47" in str(refused)
    assert server.bodies == []
    assert judging(a, b, "--reference", reference, "--max-judge-requests", "48").exit_code == 0


def test_a_judge_that_fails_half_way_is_asked_only_the_rest(
    judging: Judging, server: JudgeServer, alpaca: tuple[Path, Path, Path]
) -> None:
    a, b, reference = alpaca
    server.fail("503", on=range(ITEMS + 5, 1000))
    failed = judging(a, b, "--reference", reference)
    assert isinstance(failed.exception, RetryableError), failed.output
    server.fail(None)
    server.bodies.clear()
    done = judging(a, b, "--reference", reference)
    assert "win rate 10.0 → 90.0" in done.output, done.output
    assert len(server.bodies) == ITEMS - 4


def test_a_judging_with_too_few_verdicts_ends_before_the_second_file_and_is_asked_again(
    judging: Judging, server: JudgeServer, tmp_path: Path
) -> None:
    a, b = pinned_arena(tmp_path)
    unclear = {row["prompt"] for row in ARENA[:3]}

    def says(body: dict[str, Any]) -> str:
        asked = body["messages"][-1]["content"]
        return "I cannot say." if any(text in asked for text in unclear) else by_length(body)

    server.says = says
    reverse = (b, a, "--direct")  # b against itself is free, then a against b
    refused = judging(*reverse).exception
    assert isinstance(refused, PermanentError) and "21 of 24 items have a judgment" in str(refused)
    assert "(3 unparsed)" in str(refused) and "--rejudge failed" in str(refused)
    asked = len(server.bodies)
    assert isinstance(judging(*reverse).exception, PermanentError) and len(server.bodies) == asked
    lower = judging(*reverse, "--min-judged", "0.8")
    assert report_of(lower)[0].verdict.n_judged == 21
    server.says = by_length
    done = judging(*reverse, "--rejudge", "failed")
    assert done.exit_code == 0, done.output
    assert len(server.bodies) == asked + 6 and report_of(done)[0].verdict.n_judged == len(ARENA)


@pytest.mark.usefixtures("_pinned")
def test_the_second_file_is_not_paid_for_where_the_first_is_refused(
    judging: Judging, server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.comparison.stored_answers.sha256_of", lambda path: f"of {path.name}")
    unclear = {row["prompt"] for row in ARENA[:3]}

    def says(body: dict[str, Any]) -> str:
        asked = body["messages"][-1]["content"]
        return "I cannot say." if any(text in asked for text in unclear) else by_length(body)

    server.says = says
    assert isinstance(judging(*pinned_arena(tmp_path)).exception, PermanentError)
    assert len(server.bodies) == 2 * len(ARENA)


@pytest.mark.slow
def test_killed_and_started_again(
    server: JudgeServer, alpaca: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, reference = alpaca
    command = [sys.executable, "-m", "flows.cli", "judge", str(a), str(b), "--reference", str(reference)]
    command += ["--judge-model", "longer", "--judge-url", server.url, "--judge-concurrency", "4"]
    command += ["--store", str(tmp_path / "store")]
    server.fail("hang", on=range(ITEMS + 9, 1000))  # within the second file
    with subprocess.Popen(command) as process:
        for _ in range(4):
            assert server.hung.acquire(timeout=LIMIT)
        os.kill(process.pid, signal.SIGKILL)
    assert len(server.bodies) == ITEMS + 8 + 4
    server.fail(None)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
    assert "win rate 10.0 → 90.0" in done.stdout
    assert len(server.bodies) == 2 * ITEMS + 4, "more than the four in flight was paid for again"
