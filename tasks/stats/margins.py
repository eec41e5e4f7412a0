"""Guards: whether a verified score fell by more than a margin that was named before the run.

A score is 0 or 100 an item, so a guard that hardly moves has few items that tell. Where no item
changed, the spread of the differences is 0, and says nothing: its standard error is therefore at
least that of arms that differ by exactly the margin, all of it lost and nothing won,
√(m·(100 − m)/n). This is the variance under the null of Tango's score test for paired
proportions (Statistics in Medicine 1998, 17:891) in that case; ten equal items show nothing with it.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

from numpy.typing import ArrayLike
from pydantic import Field

from tasks.core.errors import InputError
from tasks.stats.formatting import interval, magnitude, p_value
from tasks.stats.metrics import ArmMetrics
from tasks.stats.paired import LEVEL, FiniteValue, mean_and_error

__all__ = ["GUARD_RULE", "Finding", "GuardResult", "MarginTest", "corrected_guard", "margin_test"]

Finding = Literal["harmless", "not shown to be harmless", "at a cost"]

GUARD_RULE = (
    "A guard is at a cost when the 95% interval of its paired difference lies below −margin, and harmless "
    f"when it lies above, each with a Holm-adjusted p-value below {LEVEL}; otherwise it is not shown to be "
    "harmless. The gain and all guards are one Holm family. A gain that holds beside a guard at a cost is "
    "better, at a cost."
)


class MarginTest(NamedTuple):
    """The paired difference in points with its 95% interval, and the two-sided test of "it is −margin"."""

    mean: float
    lower: float
    upper: float
    p_value: float
    n: int


class GuardResult(FiniteValue):
    """One guard of one family: + ExPO minus original in points.

    rule           the name and version of the rule that verified the answers
    finding, why   what was found, and what made it so
    margin         points that may be lost
    p_value        two-sided, of "the difference is −margin"; p_adjusted: by Holm over the `compared` tests
    n_judged       items verified in both arms; n_failed: items that were not
    lost, won      items that the original has right and + ExPO wrong, and the reverse
    """

    benchmark: str
    rule: str
    finding: Finding
    why: str
    margin: float = Field(gt=0, lt=100)
    mean: float
    lower: float
    upper: float
    p_value: float
    p_adjusted: float
    compared: int
    original: ArmMetrics
    expo: ArmMetrics
    n_judged: int
    n_failed: int = 0
    lost: int
    won: int


def margin_test(
    original: ArrayLike, expo: ArrayLike, margin: float, clusters: Sequence[object] | None = None
) -> MarginTest:
    """Tests a guard's margin.

    original, expo  shape (items,): scores from 0 to 100 of the same items in the same order
    margin          points, between 0 and 100

    Raises:
        InputError: the margin is none, a score is not finite, or there are fewer than two units.
    """
    if not 0 < margin < 100:
        raise InputError(f"a guard's margin is between 0 and 100 points, not {margin:g}")
    mean, spread, n = mean_and_error(original, expo, clusters)
    error = max(spread, (margin * (100 - margin) / n) ** 0.5)
    normal = NormalDist()
    half = normal.inv_cdf(1 - LEVEL / 2) * error
    p = 2 * (1 - normal.cdf(abs(mean + margin) / error))
    return MarginTest(mean, mean - half, mean + half, p, n)


def corrected_guard(guard: GuardResult, p_adjusted: float, compared: int) -> GuardResult:
    """The same with Holm's p-value of a family of so many tests, and the finding that follows."""
    ends = f"the 95% interval {interval(guard.lower, guard.upper)}"
    test = f"the p-value{'' if compared == 1 else f' (Holm over {compared} tests)'} is {p_value(p_adjusted)}"
    floor = f"−{magnitude(guard.margin, 1)}"
    finding: Finding = "not shown to be harmless"
    if guard.lower <= -guard.margin <= guard.upper:
        why = f"{ends} contains {floor}"
    elif p_adjusted >= LEVEL:
        why = f"{test}, not below {LEVEL}"
    else:
        finding, place = ("at a cost", "below") if guard.upper < -guard.margin else ("harmless", "above")
        why = f"{ends} lies {place} {floor} and {test}, below {LEVEL}"
    return guard.model_copy(
        update={"finding": finding, "why": why, "p_adjusted": p_adjusted, "compared": compared}
    )
