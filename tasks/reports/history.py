"""The figures of each family over the runs of a store: what `expo history` and its page show.

A series holds comparable runs: one family, α, benchmark and judge, with the judge's
fingerprint (its prompts, sampling and orders); of a guard also one number of items and one margin.
Reports of other versions are read as far as the history needs them; one that lacks something is
named and left out, and no figure is made up for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field, ValidationError

from tasks.benchmarks.registry import benchmark_of_verdict
from tasks.core.values import Value
from tasks.stats.decision import Outcome
from tasks.stats.margins import Finding
from tasks.stats.metrics import PublishedFigures
from tasks.stats.paired import FiniteValue

__all__ = ["History", "HistoryPoint", "Series", "history"]

# "word" is its name in reports and in the JSON of `expo history`
OUTCOME: Any = Field(validation_alias=AliasChoices("word", "outcome"), serialization_alias="word")


class HistoryPoint(FiniteValue):
    """One run's figures of a series, in the unit of its scores.

    outcome        of a guard's series what the guard found
    run, created   the report's name, and when it was made (ISO 8601, UTC)
    original, expo the scores of the arms
    gain, lower, upper   the paired difference with its 95% interval
    lc_gain        of the length-controlled win rates, None where there are none
    noise          the 95% interval of the original against itself (an A/A run), None without one
    """

    model_config = ConfigDict(serialize_by_alias=True)

    run: str
    created: str
    outcome: Outcome | Finding = OUTCOME
    original: float
    expo: float
    gain: float
    lower: float
    upper: float
    lc_gain: float | None = None
    noise: tuple[float, float] | None = None


class Series(FiniteValue):
    """One family at one α on one benchmark by one judge; the points are in the order of time.

    judge_fingerprint  "" where the reports do not state it
    items, margin      of a guard: how many items were asked, and the points that may be lost; otherwise 0
    """

    family: str
    alpha: float
    benchmark: str
    judge: str
    judge_fingerprint: str
    unit: str
    items: int = Field(default=0, exclude_if=lambda items: not items)
    margin: float = Field(default=0.0, exclude_if=lambda margin: not margin)
    points: tuple[HistoryPoint, ...]
    published: PublishedFigures | None = None


class History(Value):
    """All series, by family; `left_out` gives for each report that could not be read the reason."""

    series: tuple[Series, ...]
    left_out: dict[str, str]


class _Read(FiniteValue):
    """A part of a report of any version: fields that the history does not need are ignored."""

    model_config = ConfigDict(extra="ignore")


class _Arm(_Read):
    score: float
    lc_win_rate: float | None = None


class _Difference(_Read):
    mean: float
    lower: float
    upper: float


class _Guard(_Read):
    benchmark: str
    rule: str
    finding: Finding
    margin: float
    mean: float
    lower: float
    upper: float
    n_judged: int
    n_failed: int = 0
    original: _Arm
    expo: _Arm


class _Verdict(_Read):
    alpha: float
    benchmark: str
    judge: str
    outcome: Outcome | Finding = OUTCOME
    unit: str
    difference: _Difference
    original: _Arm
    expo: _Arm
    published: PublishedFigures | None = None
    guards: tuple[_Guard, ...] = ()
    items: int = 0
    margin: float = 0.0

    def with_guards_apart(self) -> "Iterator[_Verdict]":
        """This one, and each guard in the form of a verdict."""
        yield self
        for guard in self.guards:
            found = _Difference(mean=guard.mean, lower=guard.lower, upper=guard.upper)
            yield _Verdict(
                alpha=self.alpha,
                benchmark=guard.benchmark,
                judge=guard.rule,
                outcome=guard.finding,
                unit=GUARD_UNIT,
                difference=found,
                original=guard.original,
                expo=guard.expo,
                items=guard.n_judged + guard.n_failed,
                margin=guard.margin,
            )


class _Band(_Read):
    benchmark: str
    judge: str
    lower: float
    upper: float


class _Family(_Read):
    family: str
    verdicts: tuple[_Verdict, ...]
    noise: tuple[_Band, ...] = ()
    settings: dict[str, str] = Field(default_factory=dict)


class _Report(_Read):
    name: str
    created: str
    families: tuple[_Family, ...]


GUARD_UNIT = "percentage points"
_Key = tuple[str, str, str, str, float, str, int, float]


def history(reports: Mapping[str, bytes]) -> History:
    """Joins reports into series.

    reports  the content of each `report.json`, by the report's name
    """
    read, left_out = [], {}
    for name, content in reports.items():
        try:
            read.append(_Report.model_validate_json(content))
        except ValidationError as error:
            first = error.errors()[0]
            left_out[name] = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    found: dict[_Key, list[tuple[_Verdict, HistoryPoint]]] = {}
    for report in sorted(read, key=lambda stored: stored.created):
        for key, verdict, point in _points(report):
            found.setdefault(key, []).append((verdict, point))
    return History(series=tuple(_series(key, found[key]) for key in sorted(found)), left_out=left_out)


def _points(report: _Report) -> Iterator[tuple[_Key, _Verdict, HistoryPoint]]:
    for family in report.families:
        apart = {
            (verdict.benchmark, verdict.judge): verdict
            for judged in family.verdicts
            for verdict in judged.with_guards_apart()
        }
        for verdict in apart.values():
            asked = benchmark_of_verdict(verdict.benchmark)
            judge = family.settings.get(f"{asked.measure.title}: judge's fingerprint", "")
            key = (
                *(family.family, verdict.benchmark, verdict.judge, judge, verdict.alpha, verdict.unit),
                *(verdict.items, verdict.margin),
            )
            bands = [
                band for band in family.noise if (band.benchmark, band.judge) == (asked.name, verdict.judge)
            ]
            before, after = verdict.original, verdict.expo
            lengths = (before.lc_win_rate, after.lc_win_rate)
            point = HistoryPoint(
                run=report.name,
                created=report.created,
                outcome=verdict.outcome,
                original=before.score,
                expo=after.score,
                gain=verdict.difference.mean,
                lower=verdict.difference.lower,
                upper=verdict.difference.upper,
                lc_gain=None if lengths[0] is None or lengths[1] is None else lengths[1] - lengths[0],
                noise=(bands[0].lower, bands[0].upper) if bands else None,
            )
            yield key, verdict, point


def _series(key: _Key, found: list[tuple[_Verdict, HistoryPoint]]) -> Series:
    family, benchmark, judge, judge_fingerprint, alpha, unit, items, margin = key
    return Series(
        family=family,
        alpha=alpha,
        benchmark=benchmark,
        judge=judge,
        judge_fingerprint=judge_fingerprint,
        unit=unit,
        items=items,
        margin=margin,
        points=tuple(point for _, point in found),
        published=found[-1][0].published,
    )
