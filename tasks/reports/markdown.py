"""The report as Markdown: whole, as a file beside the page, and in short, for Prefect's UI."""

from collections.abc import Sequence

from jinja2 import Environment

from tasks.core.family_result import FamilyResult
from tasks.core.text_files import in_markdown
from tasks.reports import templates
from tasks.reports.guards import guard_sentence, guards_in_short, kinds_of, lost_items
from tasks.reports.run_report import RunReport
from tasks.reports.sentences import judging, length_controlled, noise_sentence, reason, sentence
from tasks.reports.text import by_benchmark, other_judge_note
from tasks.reports.time_plot import time_sentence
from tasks.stats import formatting
from tasks.stats.agreement import agreement_sentence
from tasks.stats.margins import GUARD_RULE

__all__ = ["render_markdown", "render_summary"]


def render_markdown(report: RunReport) -> str:
    """The report as GitHub Markdown: verdicts, tables, how to read them."""
    template = _environment().get_template("report.md.jinja")
    return template.render(report=report, groups=by_benchmark(report.verdicts))


def render_summary(report: RunReport, results: Sequence[FamilyResult], page: str) -> str:
    """The report in short: how each family ended and what it cost, its verdicts, where the whole page is.

    results  of all families of the run, those without a benchmark too
    page     the page's URL
    """
    template = _environment().get_template("summary.md.jinja")
    rows = [_family_cells(result, report) for result in results]
    return template.render(report=report, rows=rows, groups=by_benchmark(report.verdicts), page=page)


def _family_cells(result: FamilyResult, report: RunReport) -> tuple[str, ...]:
    """A family's row of the summary: name, α, how it ended, and its time, requests and dollars.

    A family whose verdict an earlier run had reached cost nothing now.
    """
    found = next((family for family in report.families if family.family == result.family), None)
    if found is None:
        return (result.family, "–", result.outcome, "–", "–", "–")
    costs = () if result.cached else found.costs
    seconds = sum(cost.seconds for cost in costs)
    asked = [cost.requests for cost in costs if cost.requests is not None]
    paid = [cost.dollars for cost in costs if cost.dollars is not None]
    return (
        result.family,
        f"{found.alpha:g}",
        result.outcome,
        formatting.duration(seconds) if costs else "–",
        f"{sum(asked):,}" if asked else "–",
        f"${sum(paid):.2f}" if paid else "–",
    )


def _environment() -> Environment:
    environment = templates.environment(html=False)
    environment.filters["cell"] = _cell
    environment.globals |= {
        "agreement_sentence": agreement_sentence,
        "judging": judging,
        "length_controlled": length_controlled,
        "noise_sentence": noise_sentence,
        "other_judge_note": other_judge_note,
        "guard_rule": GUARD_RULE,
        "guard_sentence": guard_sentence,
        "guards_in_short": guards_in_short,
        "kinds_of": kinds_of,
        "lost_items": lost_items,
        "reason": reason,
        "sentence": sentence,
        "time_sentence": time_sentence,
    }
    return environment


def _cell(text: object) -> str:
    """Foreign text on one line of Markdown: no bar or line break may end a cell, no tag may open."""
    return in_markdown(str(text)).replace("|", "\\|")
