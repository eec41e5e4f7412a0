"""The report in the terminal: a table for each benchmark and judge, the α curves, the history."""

from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.benchmarks.registry import measure_of
from tasks.core.text_files import one_line, printable
from tasks.reports.guards import guard_sentence, with_guards
from tasks.reports.history import History, Series
from tasks.reports.run_report import FamilyReport, RunReport
from tasks.reports.sentences import length_controlled, noise_sentence, reason
from tasks.reports.svg import TONES
from tasks.reports.time_plot import time_sentence
from tasks.stats import formatting
from tasks.stats.agreement import agreement_sentence
from tasks.stats.decision import RULE, Verdict
from tasks.stats.margins import GUARD_RULE

__all__ = ["by_benchmark", "history_table", "other_judge_note", "terminal_table"]

STYLES = {
    "better": "bold green",
    "better, at a cost": "bold magenta",
    "no evidence": "yellow",
    "worse": "bold red",
}
WIDTH = 120  # columns
BAR = 40  # columns that stand for a win rate of 100%


def terminal_table(report: RunReport, color: bool = False) -> str:
    """Verdicts, a table for each benchmark and judge, then the α curves; ANSI colors on request."""
    file = StringIO()
    console = _console(file, color)
    for (benchmark, judge), verdicts in by_benchmark(report.verdicts):
        measure = measure_of(benchmark)
        gain = f"{measure.control[0].upper()}C gain"
        console.print(_table(f"{measure.title}, judged by {one_line(judge)}", verdicts, gain))
        console.print(_reasons(verdicts))
        if guarded := with_guards(verdicts):
            console.print(_costs(guarded))
        if len(verdicts) > 1 or guarded:
            console.print(f"{RULE} {GUARD_RULE}" if guarded else RULE, markup=False)
        if note := other_judge_note(verdicts):
            console.print(one_line(note), markup=False)
    for found in report.anchors:
        console.print(one_line(agreement_sentence(found)), markup=False)
    for family in report.families:
        for band in family.noise:
            console.print(one_line(noise_sentence(family.family, band)), markup=False)
        if family.race:
            console.print(
                one_line(f"{family.family}, the search for α: {family.race.sentence}"), markup=False
            )
        if family.alpha_curve:
            console.print("", _curve(family))
    for timeline in report.timelines:
        console.print(one_line(f"{timeline.family}: {time_sentence(timeline)}"), markup=False)
    for failure in report.failures:
        line = f"{one_line(failure.family)}: failed in {failure.stage}: {printable(failure.reason)}"
        console.print(line, style="red", markup=False)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def history_table(history: History, color: bool = False) -> str:
    """A table for each series, the latest run last; ANSI colors on request."""
    file = StringIO()
    console = _console(file, color)
    for series in history.series:
        console.print(_series_table(series))
    if not history.series:
        console.print("No run of this store has a verdict.")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def by_benchmark(verdicts: Iterable[Verdict]) -> list[tuple[tuple[str, str], list[Verdict]]]:
    """Verdicts grouped by (benchmark, judge): only these may stand in one table."""
    ordered = sorted(verdicts, key=lambda verdict: (verdict.benchmark, verdict.judge))
    return [(key, list(group)) for key, group in groupby(ordered, lambda v: (v.benchmark, v.judge))]


def other_judge_note(verdicts: Sequence[Verdict]) -> str | None:
    """A warning where published figures of another judge stand beside these, else None."""
    for verdict in verdicts:
        if verdict.published and not verdict.published_by_same_judge:
            return (
                f"The published figures were judged by {verdict.published.judge}, these by {verdict.judge}: "
                "compare directions, not numbers."
            )
    return None


def _console(file: StringIO, color: bool) -> Console:
    return Console(
        file=file,
        width=WIDTH,
        highlight=False,
        force_terminal=color,
        color_system="standard" if color else None,
    )


def _series_table(series: Series) -> Table:
    judge = one_line(f"{series.judge} {series.judge_fingerprint[:8]}")
    measure = measure_of(series.benchmark)
    asked = f" ({series.items} items, margin {series.margin:g})" if series.margin else ""
    title = f"{one_line(series.family)}, α = {series.alpha:g}, {measure.title}{asked}, judged by {judge}"
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("run", "made"):
        table.add_column(name, no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("score", "gain", "95% interval", "LC gain", "noise band"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in series.points:
        table.add_row(
            Text(one_line(point.run)),
            formatting.moment(point.created),
            Text(point.outcome, STYLES[TONES[point.outcome]]),
            formatting.change(point.original, point.expo, measure.digits),
            formatting.signed(point.gain),
            formatting.interval(point.lower, point.upper),
            "–" if point.lc_gain is None else formatting.signed(point.lc_gain, 1),
            formatting.interval(*point.noise) if point.noise else "–",
        )
    return table


def _table(title: str, verdicts: list[Verdict], gain: str) -> Table:
    """The verdicts on one benchmark; `gain`: what the length- or style-controlled gain is called in short."""
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("family", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("α", "score", "gain", "95% interval", "p", gain, "length", "published"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in verdicts:
        table.add_row(*_row(verdict))
    return table


def _costs(verdicts: Sequence[Verdict]) -> Table:
    """What each guard found."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for verdict in verdicts:
        for guard in verdict.guards:
            finding = Text(guard_sentence(guard), STYLES[TONES[guard.finding]])
            table.add_row(Text(one_line(verdict.family)), finding)
    return table


def _reasons(verdicts: Sequence[Verdict]) -> Table:
    """The reason for each outcome."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for verdict in verdicts:
        table.add_row(
            Text(one_line(verdict.family)),
            Text(f"{verdict.outcome.capitalize()}: {reason(verdict)} {length_controlled(verdict)}".rstrip()),
        )
    return table


def _curve(family: FamilyReport) -> Table:
    title = Text(
        f"What α does to {one_line(family.family)}: win rate over the original, held-out instructions", "bold"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("α", "win rate", "95% interval"):
        table.add_column(name, justify="right")
    table.add_column(f"0%{'50%':^{BAR - 6}}100%")
    for name in ("length", "cut off"):
        table.add_column(name, justify="right")
    for point in sorted(family.alpha_curve, key=lambda point: point.alpha):
        table.add_row(
            f"{'▸ ' if point.alpha == family.alpha else ''}{point.alpha:g}",
            f"{point.win_rate:.1f}",
            f"{point.lower:.1f} to {point.upper:.1f}",
            Text("█" * round(point.win_rate / 100 * BAR), "blue"),
            f"{point.mean_length:.0f}",
            formatting.share(point.truncated),
            style="bold" if point.alpha == family.alpha else None,
        )
    return table


def _row(verdict: Verdict) -> list[str | Text]:
    found, before, after = verdict.difference, verdict.original, verdict.expo
    digits = measure_of(verdict.benchmark).digits
    return [
        Text(one_line(verdict.family)),
        Text(verdict.outcome, STYLES[verdict.outcome]),
        f"{verdict.alpha:g}",
        formatting.change(before.score, after.score, digits),
        formatting.signed(found.mean),
        formatting.interval(found.lower, found.upper),
        formatting.p_value(verdict.p_adjusted),
        "–" if verdict.lc_gain is None else formatting.signed(verdict.lc_gain, 1),
        formatting.signed(100 * verdict.length_increase, 0) + "%",
        formatting.signed(verdict.published.gain, digits) if verdict.published else "–",
    ]
