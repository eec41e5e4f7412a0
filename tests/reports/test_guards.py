"""What a gain costs, in the page, the Markdown, the terminal, the history and a night's alarms."""

import csv
import re
from io import StringIO

import pytest

from tasks.benchmarks.rows import Dialogue, DialogueTurn
from tasks.comparison.nights import changes_of
from tasks.reports.exports import bibtex, csv_table, latex_table
from tasks.reports.history import history
from tasks.reports.html import render_history, render_html
from tasks.reports.markdown import render_markdown, render_summary
from tasks.reports.run_report import FamilyReport, PublishedCost, RunReport, corrected
from tasks.reports.text import history_table, terminal_table
from tasks.stats.decision import decide_guard
from tasks.stats.margins import GUARD_RULE, GuardResult
from tasks.stats.metrics import ArmMetrics, ArmResult
from tests.reports.conftest import FamilyMaker

COST = PublishedCost(setting="GSM8K, 5 shots, exact match", score=(67.2, 59.6), standard_error=1.4)


def guard(name: str, lost: int, won: int = 3, n: int = 400, margin: float = 3.0) -> GuardResult:
    before = [100.0] * lost + [0.0] * won + [100.0] * (n - lost - won)
    after = [0.0] * lost + [100.0] * won + [100.0] * (n - lost - won)
    arms = [
        ArmResult(
            metrics=ArmMetrics(
                score=sum(scores) / n,
                standard_error=2,
                mean_length=0,
                kinds={"keywords": kept, "length_constraints": 60.0} if name == "ifeval" else {},
            ),
            scores=dict(enumerate(scores)),
        )
        for scores, kept in ((before, 90.0), (after, 70.0))
    ]
    return decide_guard(name, "lm-eval 0: a task", margin, *arms)


def with_guards(family: FamilyReport, *guards: GuardResult) -> FamilyReport:
    lost = Dialogue(
        question_id=1000,
        category="",
        benchmark="ifeval",
        turns=(
            DialogueTurn(
                question="Use no | comma.",
                original="Fine",
                expo="Well, <b>no</b>",
                original_rating=1,
                expo_rating=0,
                expo_judgment="not followed: punctuation:no_comma",
            ),
        ),
    )
    (verdict,) = family.verdicts
    changed = verdict.model_copy(update={"guards": guards})
    return family.model_copy(
        update={"verdicts": (changed,), "dialogues": (lost,), "published_costs": (COST,)}
    )


def run_of(*families: FamilyReport, name: str = "night-1", day: int = 23) -> RunReport:
    created = f"2026-11-{day}T23:41:07+00:00"
    return RunReport(name=name, created=created, code_version="0.1.0", families=corrected(families))


@pytest.fixture(scope="module")
def run(make_family: FamilyMaker) -> RunReport:
    family = make_family("llama3-iterative-dpo-final", gain=20.0)
    second = make_family("demo", gain=20.0, seed=1)
    return run_of(
        with_guards(family, guard("ifeval", 60), guard("gsm8k", 12)),
        with_guards(second, guard("ifeval", 0), guard("gsm8k", 1)),
    )


def test_the_page_shows_the_cost_beside_the_gain(run: RunReport) -> None:
    assert [verdict.outcome for verdict in run.verdicts] == ["better, at a cost", "better"]
    page = render_html(run)
    assert '<article class="card cost">' in page and "◆ better, at a cost" in page
    assert '1 is <b class="better">better</b>' in page and "better, at a cost</b>," in page
    assert page.count("Gain against cost") == 2, "one plot a guard"
    assert GUARD_RULE in page and "not to be compared with this run" in page
    assert re.search(r"keywords</th><td class=\"n\">90\.0</td><td class=\"n\">70\.0</td>", page)
    assert "Well, &lt;b&gt;no&lt;/b&gt;" in page and "<b>no</b>" not in page
    assert "Examples of the 60 lost items" in page


def test_a_page_without_guards_says_nothing_of_them(run_report: RunReport) -> None:
    page = render_html(run_report)
    assert "What the gain costs" not in page and GUARD_RULE not in page and "Gain against cost" not in page


def test_markdown_and_terminal_say_the_same(run: RunReport) -> None:
    text = " ".join(terminal_table(run).split())
    markdown = render_markdown(run)
    for found in (text, markdown):
        assert "IFEval is at a cost: prompt-level strict accuracy" in found
        assert "60 lost and 3 won of 400 items" in found
        assert "not shown to be harmless" in found
    assert "| keywords | 90.0 | 70.0 | −20.0 |" in markdown
    assert "| GSM8K, 5 shots, exact match | 67.2 | 59.6 ± 1.4 | −7.6 |" in markdown
    lost = next(line for line in markdown.splitlines() if line.startswith("| 1000:"))
    assert lost.count(" | ") == 2 and "Use no \\| comma" in lost
    assert "IFEval −14.2, at a cost" in render_summary(run, (), "file:///page")


def test_a_guard_has_a_history_and_a_drop_of_it_is_an_alarm(make_family: FamilyMaker) -> None:
    family = make_family("demo", gain=20.0)
    nights = [
        run_of(with_guards(family, guard("ifeval", lost)), name=name, day=day)
        for name, day, lost in (("night-1", 1 + 10, 2), ("night-2", 12, 80))
    ]
    found = history({night.name: night.model_dump_json().encode() for night in nights})
    assert not found.left_out
    series = {line.benchmark: line for line in found.series}
    points = [point.outcome for point in series["ifeval"].points]
    assert points == ["harmless", "at a cost"] and series["ifeval"].judge == "lm-eval 0: a task"
    assert "at a cost" in history_table(found) and "at a cost" in render_history(found, "store")
    changes = {change.benchmark: change for change in changes_of(found.series, "night-2")}
    assert changes["ifeval"].dropped and changes["ifeval"].guard and changes["ifeval"].new_cost
    assert not changes["alpaca_eval"].dropped and not changes["alpaca_eval"].guard


@pytest.mark.parametrize(
    "second",
    [guard("gsm8k", 40, n=200), guard("gsm8k", 40, margin=2.0)],
    ids=["a sample", "another margin"],
)
def test_another_sample_or_margin_of_a_guard_is_another_series(
    second: GuardResult, make_family: FamilyMaker
) -> None:
    """A night with it has no earlier one, so it can neither have dropped nor have come to be at a cost."""
    family = make_family("demo", gain=20.0)
    nights = [
        run_of(with_guards(family, asked), name=name, day=day)
        for name, day, asked in (("night-1", 11, guard("gsm8k", 2)), ("night-2", 12, second))
    ]
    found = history({night.name: night.model_dump_json().encode() for night in nights})
    guards = [line for line in found.series if line.benchmark == "gsm8k"]
    assert {(line.items, line.margin) for line in guards} == {(400, 3.0), (second.n_judged, second.margin)}
    assert [change.benchmark for change in changes_of(found.series, "night-2")] == ["alpaca_eval"]
    title = f"{second.n_judged} items, margin {second.margin:g}"
    assert title in history_table(found) and title in render_history(found, "store")


def test_a_benchmark_and_a_guard_of_one_name_are_two_series(make_family: FamilyMaker) -> None:
    family = make_family("demo", gain=20.0)
    (verdict,) = family.verdicts
    judged = verdict.model_copy(update={"benchmark": "gsm8k", "judge": "lm-eval 0: a task"})
    nights = [
        run_of(with_guards(family, guard("gsm8k", 2))),
        run_of(family.model_copy(update={"verdicts": (judged,)}), name="night-2", day=24),
    ]
    found = history({night.name: night.model_dump_json().encode() for night in nights})
    assert [line.margin for line in found.series if line.benchmark == "gsm8k"] == [0, 3]


def test_exports_hold_the_cost_beside_the_gain(run: RunReport) -> None:
    first, second = csv.DictReader(StringIO(csv_table(run)))
    (ifeval, gsm8k) = run.verdicts[0].guards
    assert float(first["ifeval_difference"]) == ifeval.mean and first["ifeval_finding"] == "at a cost"
    assert first["gsm8k_finding"] == gsm8k.finding and float(second["ifeval_margin"]) == 3
    table = latex_table(run)
    assert "outcome & guards" in table and "IFEval $-$14.2, at a cost; GSM8K" in table
    cited = bibtex(run)
    assert "2311.07911" in cited and "2110.14168" in cited
    assert "% guards verified by lm-eval 0: a task" in cited


def test_a_family_without_guards_beside_one_with_them_is_compared_over_tests(
    make_family: FamilyMaker,
) -> None:
    guarded = with_guards(make_family("llama3-iterative-dpo-final", gain=20.0), guard("ifeval", 0))
    plain = make_family("demo", gain=20.0, seed=1)
    verdicts = run_of(guarded, plain).verdicts
    assert [verdict.tests for verdict in verdicts] == ["3 tests", "3 tests"]
    assert "Holm over 3 tests" in verdicts[1].rule
    assert [verdict.tests for verdict in run_of(plain).verdicts] == ["1 families"]
