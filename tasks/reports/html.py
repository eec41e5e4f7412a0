"""The report as one HTML page that needs nothing else: styles, plots, script and answers inside.

The page asks for nothing from outside, and its content security policy lets nothing in: only
the page's own script may run, known by its digest. What models and judges wrote is data.
"""

import base64
import hashlib
from collections import Counter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tasks.reports import plots, wording
from tasks.reports.agreement import agreement_sentence
from tasks.reports.history import History
from tasks.reports.run_report import FamilyReport, RunReport, norm_table
from tasks.reports.seeds import noise_sentence
from tasks.reports.text import by_benchmark, other_judge_note
from tasks.reports.verdict import RULE, reason, sentence

__all__ = ["render_history", "render_html"]

MOST_CARDS = 6  # verdicts; more of them are read in the tables, and in words with each family
SYMBOLS = {"better": "▲", "no evidence": "●", "worse": "▼"}


def render_html(report: RunReport) -> str:
    """The page. Whatever models and judges wrote is text in it, never markup or script."""
    environment = _environment()
    environment.globals |= {
        "agreement_sentence": agreement_sentence,
        "most_cards": MOST_CARDS,
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
        words=Counter(verdict.word for verdict in report.verdicts),
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
    environment = Environment(
        loader=PackageLoader("tasks.reports", "page"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plot": _plot, "symbols": SYMBOLS, "wording": wording}
    return environment


def _answers(families: tuple[FamilyReport, ...]) -> dict[str, Any]:
    """What the answers browser reads. Families share instructions and references: each is stored once.

    items     [[instruction, reference], …]
    families  [{"name", "rows": [[item, original, expo, original_preference, expo_preference], …]}, …]
    """
    items: dict[tuple[str, str], int] = {}
    shown = []
    for family in families:
        rows = [
            [
                items.setdefault((row.instruction, row.reference), len(items)),
                row.original,
                row.expo,
                row.original_preference,
                row.expo_preference,
            ]
            for row in family.answers
        ]
        if rows:
            shown.append({"name": family.family, "rows": rows})
    return {"items": [list(item) for item in items], "families": shown}


def _plot(name: str, *arguments: Any) -> Markup:  # noqa: ANN401 - whatever that plot takes
    """An inline SVG: matplotlib escapes the text in it."""
    return Markup(getattr(plots, f"{name}_plot")(*arguments))


def _page_file(environment: Environment, name: str) -> str:
    """A file of the page's folder as it is, for inlining."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
