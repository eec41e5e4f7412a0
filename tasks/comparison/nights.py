"""Compares a night's figures with earlier ones, and with the noise."""

import math
from typing import get_args

from tasks.core.values import Value
from tasks.reports.history import HistoryPoint, Series
from tasks.stats.margins import Finding

__all__ = ["NIGHT", "Change", "changes_of"]

NIGHT = "nightly-"  # marks the reports of nightly runs


class Change(Value):
    """A family's gain (+ ExPO minus original) in a run against the last earlier one that had it.

    change  the gain minus the earlier one, in the unit of the score
    noise   the change that chance explains at 95%. With an A/A run: √2 times the band's half width, for
            both arms were answered and judged anew. Without: from the intervals of the two gains,
            which is wider, because they allow for other instructions too.
    guard     whether it is a guard's difference in place of a gain
    new_cost  whether that guard is at a cost now, and was not before
    """

    family: str
    benchmark: str
    earlier: str
    change: float
    noise: float
    guard: bool = False
    new_cost: bool = False

    @property
    def dropped(self) -> bool:
        """Whether the gain is lower by more than noise explains, or a guard has come to be at a cost."""
        return self.new_cost or self.change < -self.noise


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
                    guard=now.outcome in get_args(Finding),
                    new_cost=now.outcome == "at a cost" != before.outcome,
                )
            )
    return tuple(found)


def _noise(before: HistoryPoint, now: HistoryPoint) -> float:
    if now.noise:
        return math.sqrt(2) * (now.noise[1] - now.noise[0]) / 2
    return math.hypot((before.upper - before.lower) / 2, (now.upper - now.lower) / 2)
