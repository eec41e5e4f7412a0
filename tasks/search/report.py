"""A search for α as the report of a run shows it."""

from tasks.reports.run_report import AlphaPoint, RacePoint, RaceSummary
from tasks.search.racing import Standing
from tasks.search.rails import guard_readings
from tasks.search.result import SearchResult, describe
from tasks.search.tables import HEADER, search_notes, standing_rows

__all__ = ["race_summary", "search_curve"]

HALF = 1.96  # standard errors of a 95% interval


def search_curve(search: SearchResult | None) -> tuple[AlphaPoint, ...]:
    """The α curve of a search that a judge scored: each candidate on the prompts that it answered.

    Empty for another objective: its scores are no win rates.
    """
    if search is None or not search.judged:
        return ()
    return tuple(
        _point(standing) for standing in search.standings if standing.alpha and standing.gain is not None
    )


def race_summary(search: SearchResult) -> RaceSummary:
    """The search in words, rows and points."""
    return RaceSummary(
        sentence=describe(search),
        alpha=search.alpha,
        points=tuple(_race_point(standing) for standing in search.standings if standing.gain is not None),
        notes=search_notes(search),
        objective=search.objective,
        engine=search.engine,
        rounds=search.rounds,
        header=HEADER,
        rows=tuple(standing_rows(search.standings)),
        margins={
            name: reading.most
            for standing in search.standings
            for name, reading in guard_readings(standing.rails).items()
            if reading.most is not None
        },
    )


def _race_point(standing: Standing) -> RacePoint:
    gain, error = standing.gain or 0.0, standing.standard_error or 0.0
    return RacePoint(
        alpha=standing.alpha,
        gain=gain,
        lower=gain - HALF * error,
        upper=gain + HALF * error,
        prompts=standing.prompts,
        fate=standing.fate,
        guards={
            name: -reading.value
            for name, reading in guard_readings(standing.rails).items()
            if reading.value is not None
        },
    )


def _point(standing: Standing) -> AlphaPoint:
    gain, error = standing.gain or 0.0, standing.standard_error or 0.0
    assert standing.vitals is not None
    return AlphaPoint(
        alpha=standing.alpha,
        win_rate=100 * (0.5 + gain),
        lower=100 * max(0.0, 0.5 + gain - HALF * error),
        upper=100 * min(1.0, 0.5 + gain + HALF * error),
        mean_length=standing.vitals.mean_characters,
        truncated=standing.vitals.unended,
    )
