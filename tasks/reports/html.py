"""The report as one HTML page that needs nothing else: styles, plots, script and answers inside.

The page asks for nothing from outside, and its content security policy lets nothing in: only
the page's own script may run, known by its digest. What models and judges wrote is data.
"""

import base64
import hashlib
from collections import Counter
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from tasks.reports import plots, templates
from tasks.reports.history import History
from tasks.reports.norms import norm_table
from tasks.reports.run_report import AnswerRow, Dialogue, FamilyReport, RunReport
from tasks.reports.sentences import length_controlled, reason, sentence
from tasks.reports.text import by_benchmark, other_judge_note
from tasks.stats import formatting
from tasks.stats.agreement import agreement_sentence
from tasks.stats.decision import RULE
from tasks.stats.seeds import noise_sentence

__all__ = ["render_history", "render_html"]

MOST_CARDS = 6  # verdicts; more of them are read in the tables, and in words with each family
_Item = tuple[str, tuple[tuple[str, str], ...]]  # a label, and question and reference of each turn
SYMBOLS = {"better": "▲", "no evidence": "●", "worse": "▼"}


def render_html(report: RunReport) -> str:
    """The page. Whatever models and judges wrote is text in it, never markup or script."""
    environment = _environment()
    environment.globals |= {
        "agreement_sentence": agreement_sentence,
        "most_cards": MOST_CARDS,
        "length_controlled": length_controlled,
        "noise_sentence": noise_sentence,
        "norm_table": norm_table,
        "other_judge_note": other_judge_note,
        "reason": reason,
        "rule": RULE,
        "sentence": sentence,
    }
    script = _page_file(environment, "answers.js")
    return environment.get_template("report.html").render(
        report=report,
        groups=by_benchmark(report.verdicts),
        outcomes=Counter(verdict.outcome for verdict in report.verdicts),
        answers=_answers(report.families),
        style=Markup(_page_file(environment, "report.css")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def render_history(history: History, store: str) -> str:
    """The page of a store's history: a plot and a table for each series, without any script."""
    environment = _environment()
    return environment.get_template("history.html").render(
        history=history, store=store, style=Markup(_page_file(environment, "report.css"))
    )


def _environment() -> Environment:
    environment = templates.environment(html=True)
    environment.globals |= {"plot": _plot, "symbols": SYMBOLS, "formatting": formatting}
    return environment


def _answers(families: tuple[FamilyReport, ...]) -> dict[str, Any]:
    """What the answers browser reads. Families share questions and references: each is stored once.

    items  [[label, [[question, reference] of each turn]], …]
    sets   [{"family", "benchmark", "scale", "rows": [[item, [[original, expo, original's value, expo's,
           the judge's words on each] of each turn]], …]}, …]; the scale is "preference" or "rating"
    """
    items: dict[_Item, int] = {}
    sets = []
    for family in families:
        compared = next((v.benchmark for v in family.verdicts if v.benchmark != "mt_bench"), "alpaca_eval")
        for benchmark, scale, rows in (
            (compared, "preference", [_compared(row) for row in family.answers]),
            ("mt_bench", "rating", [_rated(row) for row in family.dialogues]),
        ):
            shown = [[items.setdefault(item, len(items)), turns] for item, turns in rows]
            title = formatting.benchmark_title(benchmark)
            if shown:
                sets.append({"family": family.family, "benchmark": title, "scale": scale, "rows": shown})
    return {"items": list(items), "sets": sets}


def _compared(row: AnswerRow) -> tuple[_Item, list[list[Any]]]:
    values = [row.original_preference, row.expo_preference]
    return ("", ((row.instruction, row.reference),)), [[row.original, row.expo, *values, "", ""]]


def _rated(row: Dialogue) -> tuple[_Item, list[list[Any]]]:
    item = (
        f"Question {row.question_id}, {row.category}",
        tuple((t.question, t.reference) for t in row.turns),
    )
    return item, [
        [t.original, t.expo, t.original_rating, t.expo_rating, t.original_judgment, t.expo_judgment]
        for t in row.turns
    ]


def _plot(name: str, *arguments: Any) -> Markup:  # noqa: ANN401 - whatever that plot takes
    """An inline SVG: matplotlib escapes the text in it."""
    return Markup(getattr(plots, f"{name}_plot")(*arguments))


def _page_file(environment: Environment, name: str) -> str:
    """A file of the page's folder as it is, for inlining."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
