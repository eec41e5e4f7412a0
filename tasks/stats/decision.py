"""The verdict on a family: an outcome, with the rule that gave it."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from pydantic import AliasChoices, ConfigDict, Field

from tasks.stats.formatting import interval, p_value
from tasks.stats.metrics import ArmMetrics, ArmResult, PublishedFigures
from tasks.stats.paired import (
    LEVEL,
    FiniteValue,
    PairedDifference,
    detectable,
    gain_error,
    holm,
    paired_difference,
)

__all__ = [
    "RULE",
    "Outcome",
    "PairedScores",
    "Verdict",
    "across_families",
    "decide",
    "paired_scores",
]

Outcome = Literal["better", "no evidence", "worse"]

RULE = (
    "A family is better or worse when the 95% interval of the paired difference excludes zero and the "
    f"Holm-adjusted p-value of the sign-flip test is below {LEVEL}; otherwise there is no evidence."
)


class Verdict(FiniteValue):
    """One family on one benchmark by one judge.

    rule        in words: what made the outcome
    difference  + ExPO minus original, in `unit`
    p_adjusted  Holm's adjustment of the p-value over the `compared` families of one run
    lc_error    standard error of `lc_gain` by a paired bootstrap, None where there is none
    lc_note     why there is no length-controlled win rate, if there is none
    n_judged    items judged in both arms; n_failed: items that were not
    warning     what stands beside the figure, as of a judge that is akin to what it judges

    Stored reports hold the outcome under "word", its first name.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    family: str
    alpha: float
    benchmark: str
    judge: str
    outcome: Outcome = Field(validation_alias=AliasChoices("word", "outcome"), serialization_alias="word")
    rule: str
    unit: str
    difference: PairedDifference
    p_adjusted: float
    compared: int
    original: ArmMetrics
    expo: ArmMetrics
    lc_error: float | None = None
    lc_note: str | None = None
    n_judged: int
    n_failed: int = 0
    published: PublishedFigures | None = None
    warning: str = Field(default="", exclude_if=lambda warning: not warning)

    @property
    def detectable(self) -> float:
        """The smallest true difference that this run finds with 80% power, with Holm's correction."""
        return detectable(self.difference.standard_error, self.compared)

    @property
    def lc_gain(self) -> float | None:
        """The difference of the length-controlled win rates in points, None where there are none."""
        before, after = self.original.lc_win_rate, self.expo.lc_win_rate
        return None if before is None or after is None else after - before

    @property
    def lc_interval(self) -> tuple[float, float] | None:
        """The 95% interval of `lc_gain`, by the normal distribution; None where no error is known."""
        if self.lc_gain is None or self.lc_error is None:
            return None
        half = NormalDist().inv_cdf(1 - LEVEL / 2) * self.lc_error
        return self.lc_gain - half, self.lc_gain + half

    @property
    def length_increase(self) -> float:
        """How much longer the answers became: 0.1 is 10%; zero where the original's are empty."""
        before = self.original.mean_length
        return self.expo.mean_length / before - 1 if before else 0.0

    @property
    def published_by_same_judge(self) -> bool:
        """Whether the published figures may be read beside this run's at face value."""
        return self.published is not None and self.published.judge == self.judge


class PairedScores(NamedTuple):
    """Two results' scores of the same items in one order, and each item's cluster."""

    first: list[float]
    second: list[float]
    clusters: list[Any]


def decide(
    family: str,
    alpha: float,
    benchmark: str,
    judge: str,
    original: ArmResult,
    expo: ArmResult,
    *,
    unit: str,
    published: PublishedFigures | None = None,
    seed: int = 0,
) -> Verdict:
    """Decides one family by itself; `across_families` then corrects for the number of families.

    original, expo  paired by item; both metrics are over the items judged in both

    Raises:
        InputError: a score is not finite, or fewer than two items are judged in both.
    """
    pairs = paired_scores(original, expo)
    difference = paired_difference(pairs.first, pairs.second, pairs.clusters, seed)
    outcome, rule = _outcome(difference, difference.p_value, 1)
    return Verdict(
        family=family,
        alpha=alpha,
        benchmark=benchmark,
        judge=judge,
        outcome=outcome,
        rule=rule,
        unit=unit,
        difference=difference,
        p_adjusted=difference.p_value,
        compared=1,
        original=original.metrics,
        expo=expo.metrics,
        lc_error=gain_error(original.resampled, expo.resampled),
        lc_note=expo.lc_note,
        n_judged=len(pairs.first),
        n_failed=len(original.scores.keys() | expo.scores.keys()) - len(pairs.first),
        published=published,
    )


def paired_scores(first: ArmResult, second: ArmResult) -> PairedScores:
    """The scores of the items that both results have one of, in the order of the first."""
    pairs = {
        item: (score, other)
        for item, score in first.scores.items()
        if score is not None and (other := second.scores.get(item)) is not None
    }
    return PairedScores(
        [score for score, _ in pairs.values()],
        [other for _, other in pairs.values()],
        [first.clusters.get(item, item) for item in pairs],
    )


def across_families(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Applies Holm's correction over the families of one run, for each benchmark and judge by itself."""
    corrected = list(verdicts)
    for group in {(verdict.benchmark, verdict.judge) for verdict in verdicts}:
        members = [i for i, verdict in enumerate(verdicts) if (verdict.benchmark, verdict.judge) == group]
        adjusted = holm([verdicts[i].difference.p_value for i in members])
        for i, p in zip(members, adjusted, strict=True):
            corrected[i] = _correct(verdicts[i], p, len(members))
    return tuple(corrected)


def _correct(verdict: Verdict, p_adjusted: float, compared: int) -> Verdict:
    outcome, rule = _outcome(verdict.difference, p_adjusted, compared)
    return verdict.model_copy(
        update={"outcome": outcome, "rule": rule, "p_adjusted": p_adjusted, "compared": compared}
    )


def _outcome(difference: PairedDifference, p: float, compared: int) -> tuple[Outcome, str]:
    """Interval and test have to agree: neither alone makes a family better or worse."""
    test = "the sign-flip p is" if compared == 1 else f"the sign-flip p (Holm over {compared} families) is"
    ends = f"the 95% interval {interval(difference.lower, difference.upper)}"
    if difference.lower <= 0 <= difference.upper:
        return "no evidence", f"{ends} includes zero"
    if p >= LEVEL:
        return "no evidence", f"{test} {p_value(p)}, not below {LEVEL}"
    outcome: Outcome = "better" if difference.mean > 0 else "worse"
    return outcome, f"{ends} excludes zero and {test} {p_value(p)}, below {LEVEL}"
