"""Compares a night's figures with earlier ones, and with the noise."""

import math

from tasks.core.values import Value
from tasks.reports.history import HistoryPoint, Series

__all__ = ["NIGHT", "Change", "changes_of"]

NIGHT = "nightly-"  # marks the reports of nightly runs


class Change(Value):
    """A family's gain (+ ExPO minus original) in a run against the last earlier one that had it.

    change  the gain minus the earlier one, in the unit of the score
    noise   the change that chance explains at 95%. With an A/A run: √2 times the band's half width, for
            both arms were answered and judged anew. Without: from the intervals of the two gains,
            which is wider, because they allow for other instructions too.
    """

    family: str
    benchmark: str
    earlier: str
    change: float
    noise: float

    @property
    def dropped(self) -> bool:
        """Whether the gain is lower by more than noise explains."""
        return self.change < -self.noise


def changes_of(series: tuple[Series, ...], run: str) -> tuple[Change, ...]:
    """The changes in a run; what was never measured before (same family, α, benchmark, judge) has none."""
    found = []
    for line in series:
        names = [point.run for point in line.points]
        if run in names[1:]:
            before, now = line.points[names.index(run) - 1], line.points[names.index(run)]
            found.append(
                Change(
                    family=line.family,
                    benchmark=line.benchmark,
                    earlier=before.run,
                    change=now.gain - before.gain,
                    noise=_noise(before, now),
                )
            )
    return tuple(found)


def _noise(before: HistoryPoint, now: HistoryPoint) -> float:
    if now.noise:
        return math.sqrt(2) * (now.noise[1] - now.noise[0]) / 2
    return math.hypot((before.upper - before.lower) / 2, (now.upper - now.lower) / 2)
