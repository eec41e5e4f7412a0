"""The terminal's table and the Markdown: complete, aligned, and safe with foreign text."""

import html
import re
from collections.abc import Callable

from tasks.core.family_result import FamilyResult
from tasks.reports.html import render_html
from tasks.reports.markdown import render_markdown, render_summary
from tasks.reports.run_report import Failure, FamilyReport, RunReport
from tasks.reports.sentences import reason
from tasks.reports.text import terminal_table
from tasks.stats.decision import decide
from tasks.stats.metrics import ArmResult
from tasks.stats.seeds import NoiseBand

FamilyMaker = Callable[..., FamilyReport]


def test_the_terminal_shows_every_family_uncut(many: RunReport) -> None:
    table = terminal_table(many)
    lines = {line.split()[0]: line for line in reversed(table.splitlines()) if line.strip()}
    for verdict in many.verdicts:
        assert verdict.outcome in lines[verdict.family]
    assert "judged by gpt-4.1" in table
    assert "judged by gpt-4-1106-preview" in table, "published figures of another judge are flagged"
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 120
    assert "\x1b" not in table
    assert "\x1b" in terminal_table(many, color=True)


def test_every_verdict_has_its_rule_and_what_it_could_have_found(many: RunReport) -> None:
    for text in (" ".join(text.split()) for text in (terminal_table(many), render_markdown(many))):
        for verdict in many.verdicts:
            assert reason(verdict) in text, verdict.family


def test_the_curve_marks_the_alpha_of_the_run(run_report: RunReport) -> None:
    lines = [
        line.split()
        for line in terminal_table(run_report).split("What α does to demo")[1].splitlines()[4:]
        if line.strip()
    ]
    assert [line[:3] for line in lines] == [
        ["0", "50.0", "45.0"],
        ["▸", "0.5", "64.0"],
        ["1", "70.0", "65.0"],
        ["4", "6.0", "1.0"],
    ]
    assert [sum(word.count("█") for word in line) for line in lines] == [20, 26, 28, 2]
    assert "| 0.5 | 64.0 | 59.0 to 69.0 | 44 | 6.2% |" in render_markdown(run_report)


def test_names_are_no_console_markup(make_family: FamilyMaker, run_report: RunReport) -> None:
    odd = Failure(family="[red]x[/red]", stage="plan", reason="[bold]why[/bold] [/]")
    table = terminal_table(run_report.model_copy(update={"failures": (odd,)}))
    assert "[red]x[/red]: failed in plan: [bold]why[/bold] [/]" in table


def test_figures_by_different_judges_stand_in_different_tables(
    make_family: FamilyMaker, run_report: RunReport
) -> None:
    mixed = run_report.model_copy(
        update={"families": (*run_report.families, make_family("zephyr-7b-beta", judge="gpt-4.1"))}
    )
    for text in (terminal_table(mixed), render_markdown(mixed).replace("| ", " ")):
        _, *parts = re.split(r"^(?:## )?AlpacaEval 2.0, judged by (\S+)", text, flags=re.MULTILINE)
        rows = [
            [line.split()[0] for line in table.splitlines() if " → " in line[:70]] for table in parts[1::2]
        ]
        assert parts[::2] == ["demo:rule", "gpt-4.1"]
        assert rows == [["demo"], ["zephyr-7b-beta"]]


def test_markdown_tables_keep_their_columns(many: RunReport) -> None:
    odd = Failure(family="x", stage="plan", reason="a | b\n<img src=x>\nc")
    text = render_markdown(many.model_copy(update={"failures": (odd,)}))
    rows = [line for line in text.split("## What α does")[0].splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(many.verdicts)
    assert len({row.count("|") for row in rows}) == 1
    assert "a \\| b &lt;img src=x&gt; c" in text


def test_a_run_without_any_verdict_has_a_report(run_report: RunReport) -> None:
    failed = run_report.model_copy(
        update={"families": (), "failures": (Failure(family="x", stage="plan", reason="y"),)}
    )
    assert terminal_table(failed) == "x: failed in plan: y\n"
    assert "**x** failed in plan: y" in render_markdown(failed)


def test_the_summary_is_short_and_links_to_the_page(many: RunReport) -> None:
    page = "s3://bucket/a%20store/reports/many/report.html"
    results = [
        FamilyResult(family=family.family, report="r", cached=n > 0) for n, family in enumerate(many.families)
    ]
    results += [
        FamilyResult(family=failure.family, stage="generate", reason="r") for failure in many.failures
    ]
    text = render_summary(many, results, page)
    assert f"[{page}]({page})" in text
    outcomes, verdicts = text.split("\n## ", 1)
    lines = [line for line in outcomes.splitlines() if line.startswith("| ")][1:]
    ends = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in ends] == [result.family for result in results]
    assert ends[0][2:] == ["done", "2 h 06 min", "1,610", "$4.20"]
    assert ends[1][2:] == ["cached", "–", "–", "–"] and ends[-1][2:] == ["failed", "–", "–", "–"]
    rows = [line.split("|")[1:4:2] for line in verdicts.splitlines() if line.startswith("| ")][1:]
    assert [[name.strip(), word.strip()] for name, word in rows] == [
        [verdict.family, verdict.outcome] for verdict in many.verdicts
    ]
    assert "the engine ran out of memory: &lt;80 GB&gt;" in text
    assert len(text) < len(render_markdown(many)) / 2


def test_the_band_is_in_every_form_of_the_report(run_report: RunReport) -> None:
    family = run_report.families[0]
    band = NoiseBand(benchmark="alpaca_eval", judge="j", difference=0.4, lower=-0.8, upper=1.6, n=805)
    banded = run_report.model_copy(update={"families": (family.model_copy(update={"noise": (band,)}),)})
    sentence = f"{family.family}, the original against itself under another seed, AlpacaEval 2.0: +0.40, 95% "
    for text in (render_markdown(banded), terminal_table(banded), html.unescape(render_html(banded))):
        assert sentence in " ".join(text.split())


HOSTILE = "\x1b[2J\x9b31mred\r\n# heading | <b>\u202eend"


def test_names_move_no_cursor_and_end_no_line(make_family: FamilyMaker, run_report: RunReport) -> None:
    family = run_report.families[0]
    verdict = family.verdicts[0].model_copy(update={"family": HOSTILE, "judge": HOSTILE})
    family = family.model_copy(update={"family": HOSTILE, "verdicts": (verdict,)})
    failure = Failure(family=HOSTILE, stage="plan", reason=f"one\ntwo {HOSTILE}")
    ended = [FamilyResult(family=HOSTILE, report="r"), FamilyResult(family=HOSTILE, reason=HOSTILE)]
    hostile = run_report.model_copy(update={"name": HOSTILE, "families": (family,), "failures": (failure,)})
    texts = [terminal_table(hostile), render_markdown(hostile), render_summary(hostile, ended, "page")]
    for text in texts:
        assert "red" in text
        assert not any(c in text for c in "\x1b\x9b\r\u202e")
        assert not re.search(r"^\s*# heading", text.split("two", 1)[0], re.MULTILINE)
    for text in texts[1:]:
        assert "<b>" not in text and not re.search(r"^\s*# heading", text, re.MULTILINE)


def test_equal_differences_have_no_smallest_effect(make_family: FamilyMaker, run_report: RunReport) -> None:
    verdict = run_report.families[0].verdicts[0]
    alike = decide(
        "demo",
        0.5,
        "alpaca_eval",
        "j",
        ArmResult(metrics=verdict.original, scores={n: n / 3 for n in range(30)}),
        ArmResult(metrics=verdict.expo, scores={n: n / 3 + 0.1 for n in range(30)}),
        unit="percentage points",
    )
    run = run_report.model_copy(
        update={"families": (run_report.families[0].model_copy(update={"verdicts": (alike,)}),)}
    )
    page = html.unescape(render_html(run))
    for text in (terminal_table(run), render_markdown(run), render_summary(run, (), "page"), page):
        assert "not available (all differences are equal)" in " ".join(text.split())
    assert "smallest effect that this run could have found (with 80% power): 0" not in page


def test_how_the_checkpoints_were_matched(run_report: RunReport) -> None:
    """A difference that was allowed is in front of whoever reads the figures."""
    (notice,) = run_report.families[0].notices
    assert "was allowed" in notice
    for text in (render_markdown(run_report), html.unescape(render_html(run_report))):
        assert notice in text
    family = run_report.families[0].model_copy(update={"notices": ()})
    plain = run_report.model_copy(update={"families": (family,)})
    assert "matched" not in render_markdown(plain)
