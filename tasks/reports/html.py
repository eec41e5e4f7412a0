"""The report as one self-contained HTML page: styles, plots, script and answers inside.

The page loads nothing, and its content security policy allows only its own script, known by its
digest. What models and judges wrote is data.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from tasks.benchmarks.protocol import Judging
from tasks.benchmarks.registry import benchmark_of_verdict, measure_of
from tasks.benchmarks.rows import AnswerRow, Dialogue
from tasks.reports import plots, templates
from tasks.reports.cost_plot import cost_plot, race_cost_plot
from tasks.reports.guards import guard_pairs, guard_sentence, kinds_of, lost_items
from tasks.reports.history import History
from tasks.reports.judged import JudgedReport, pair_sentence
from tasks.reports.norms import norm_table
from tasks.reports.run_report import FamilyReport, RaceSummary, RunReport
from tasks.reports.sentences import judging, length_controlled, noise_sentence, reason, sentence
from tasks.reports.svg import TONES
from tasks.reports.text import by_benchmark, other_judge_note
from tasks.reports.time_plot import time_plot, time_sentence
from tasks.stats.agreement import agreement_sentence
from tasks.stats.decision import RULE
from tasks.stats.margins import GUARD_RULE

__all__ = ["render_history", "render_html", "render_judged", "render_race"]

MOST_CARDS = 6  # verdicts; more of them are read in the tables, and in words with each family
_Item = tuple[str, tuple[tuple[str, str], ...]]  # a label, and question and reference of each turn
_Row = tuple[_Item, list[list[Any]]]  # the item, and what each turn has of both arms
ARMS = ("original", "+ ExPO")
SYMBOLS = {"better": "▲", "better, at a cost": "◆", "no evidence": "●", "worse": "▼"}
CLASSES = {"better": "better", "better, at a cost": "cost", "no evidence": "none", "worse": "worse"}


def render_html(report: RunReport) -> str:
    """The page. Whatever models and judges wrote is text in it, never markup or script."""
    environment = _environment()
    environment.globals |= {
        "agreement_sentence": agreement_sentence,
        "most_cards": MOST_CARDS,
        "judging": judging,
        "length_controlled": length_controlled,
        "noise_sentence": noise_sentence,
        "norm_table": norm_table,
        "other_judge_note": other_judge_note,
        "guard_rule": GUARD_RULE,
        "guard_sentence": guard_sentence,
        "guard_pairs": guard_pairs,
        "kinds_of": kinds_of,
        "lost_items": lost_items,
        "reason": reason,
        "rule": RULE,
        "sentence": sentence,
        "time_sentence": time_sentence,
    }
    return environment.get_template("report.html").render(
        report=report,
        groups=by_benchmark(report.verdicts),
        outcomes=Counter(verdict.outcome for verdict in report.verdicts),
        answers=_answers(report.families),
        **_style_and_script(environment),
    )


def render_judged(report: JudgedReport) -> str:
    """The page on two files of answers; whatever models and judges wrote is text in it, as in a run's."""
    environment = _environment()
    environment.globals |= {"judging": judging, "length_controlled": length_controlled, "reason": reason}
    return environment.get_template("judged.html").render(
        report=report,
        verdict=report.verdict,
        measure=measure_of(report.verdict.benchmark),
        sentence=pair_sentence(report),
        answers=_answers((report.as_family(),)) | {"names": report.names},
        **_style_and_script(environment),
    )


def render_history(history: History, store: str) -> str:
    """The page of a store's history: a plot and a table for each series, without any script."""
    environment = _environment()
    return environment.get_template("history.html").render(
        history=history, store=store, style=Markup(_page_file(environment, "report.css"))
    )


def render_race(race: RaceSummary, aligned: str, sft: str) -> str:
    """The page of a search for the α of a pair: its plot and its table, without any script."""
    environment = _environment()
    return environment.get_template("search.html").render(
        found=race, aligned=aligned, sft=sft, style=Markup(_page_file(environment, "report.css"))
    )


def _style_and_script(environment: Environment) -> dict[str, Any]:
    """The page's own style, and the browser of answers with the digest that allows it."""
    script = _page_file(environment, "answers.js")
    return {
        "style": Markup(_page_file(environment, "report.css")),
        "script": Markup(script),
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _environment() -> Environment:
    environment = templates.environment(html=True)
    environment.globals |= {
        "class_of": {word: CLASSES[tone] for word, tone in TONES.items()},
        "plot": _plot,
        "symbols": {word: SYMBOLS[tone] for word, tone in TONES.items()},
    }
    return environment


def _answers(families: tuple[FamilyReport, ...]) -> dict[str, Any]:
    """The data of the browser of answers. Families share questions and references: each is stored once.

    names  of the two arms
    items  [[label, [[question, reference] of each turn]], …]
    sets   [{"family", "benchmark", "scale", "rows": [[item, [[original, expo, original's value, expo's,
           the judge's words on each] of each turn]], …]}, …]; the scale is "preference",
           "rating" or "verified"
    """
    items: dict[_Item, int] = {}
    sets = []
    for family in families:
        for title, scale, rows in _sets(family):
            shown = [[items.setdefault(item, len(items)), turns] for item, turns in rows]
            sets.append({"family": family.family, "benchmark": title, "scale": scale, "rows": shown})
    return {"items": list(items), "sets": sets, "names": ARMS}


def _sets(family: FamilyReport) -> Iterator[tuple[str, str, list[_Row]]]:
    """A title, a scale and rows for each benchmark that the family has answers of."""
    for name in dict.fromkeys(row.benchmark for row in family.answers):
        title = measure_of(name).title if name else _title(family, "pairwise")
        yield title, "preference", [_compared(row) for row in family.answers if row.benchmark == name]
    for name in dict.fromkeys(row.benchmark for row in family.dialogues):
        rows = [_rated(row) for row in family.dialogues if row.benchmark == name]
        judging = benchmark_of_verdict(name).judging if name else "graded"
        title = measure_of(name).title if name else _title(family, "graded")
        yield title, "rating" if judging == "graded" else "verified", rows


def _title(family: FamilyReport, judging: Judging) -> str:
    """The benchmark of a family's verdicts that is judged in this way."""
    own_name = {row.benchmark for row in family.answers}
    named = (
        verdict.benchmark
        for verdict in family.verdicts
        if benchmark_of_verdict(verdict.benchmark).judging == judging and verdict.benchmark not in own_name
    )
    return next((measure_of(name).title for name in named), judging)


def _compared(row: AnswerRow) -> _Row:
    values = [row.original_preference, row.expo_preference]
    return ("", ((row.instruction, row.reference),)), [[row.original, row.expo, *values, "", ""]]


def _rated(row: Dialogue) -> _Row:
    item = (
        f"Question {row.question_id}, {row.category}".removesuffix(", "),
        tuple((t.question, t.reference) for t in row.turns),
    )
    return item, [
        [t.original, t.expo, t.original_rating, t.expo_rating, t.original_judgment, t.expo_judgment]
        for t in row.turns
    ]


def _plot(name: str, *arguments: Any) -> Markup:  # noqa: ANN401 - whatever that plot takes
    """An inline SVG: matplotlib escapes the text in it."""
    own: dict[str, Callable[..., str]] = {"cost": cost_plot, "race_cost": race_cost_plot, "time": time_plot}
    draw = own[name] if name in own else getattr(plots, f"{name}_plot")
    return Markup(draw(*arguments))


def _page_file(environment: Environment, name: str) -> str:
    """A file of the page's folder as it is, for inlining."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
