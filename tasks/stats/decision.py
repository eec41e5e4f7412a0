"""The verdict on a family: an outcome, with the rule that gave it."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

from pydantic import AliasChoices, ConfigDict, Field

from tasks.stats.formatting import interval, p_value
from tasks.stats.margins import GuardResult, corrected_guard, margin_test
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
    "decide_guard",
    "paired_scores",
]

Outcome = Literal["better", "better, at a cost", "no evidence", "worse"]

RULE = (
    "A family is better or worse when the 95% interval of the paired difference excludes zero and the "
    f"Holm-adjusted p-value of the sign-flip test is below {LEVEL}; otherwise there is no evidence."
)


class Verdict(FiniteValue):
    """One family on one benchmark by one judge.

    rule        in words: what made the outcome
    difference  + ExPO minus original, in `unit`
    p_adjusted  Holm's adjustment of the p-value over the `compared` tests of one run: families and guards
    guards      what the gain costs, empty where no guard was named
    beside_guards  whether another family's guards are among the compared tests
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
    guards: tuple[GuardResult, ...] = Field(default=(), exclude_if=lambda guards: not guards)
    beside_guards: bool = Field(default=False, exclude_if=lambda beside: not beside)

    @property
    def tests(self) -> str:
        """What Holm's correction was over, in words: "13 families", or with guards "3 tests"."""
        return f"{self.compared} {'tests' if self.guards or self.beside_guards else 'families'}"

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
    guards: Sequence[GuardResult] = (),
    seed: int = 0,
) -> Verdict:
    """Decides one family by itself; `across_families` then corrects for the number of families.

    original, expo  paired by item; both metrics are over the items judged in both
    guards          as `decide_guard` gives them, each by itself

    Raises:
        InputError: a score is not finite, or fewer than two items are judged in both.
    """
    pairs = paired_scores(original, expo)
    difference = paired_difference(pairs.first, pairs.second, pairs.clusters, seed)
    verdict = Verdict(
        family=family,
        alpha=alpha,
        benchmark=benchmark,
        judge=judge,
        outcome="no evidence",
        rule="",
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
        guards=tuple(guards),
    )
    (decided,) = across_families([verdict])
    return decided


def decide_guard(
    benchmark: str, rule: str, margin: float, original: ArmResult, expo: ArmResult
) -> GuardResult:
    """Tests one guard by itself; `decide` and `across_families` correct for the tests beside it.

    Raises:
        InputError: the margin is none, or fewer than two items are verified in both arms.
    """
    pairs = paired_scores(original, expo)
    found = margin_test(pairs.first, pairs.second, margin, pairs.clusters)
    changes = [after - before for before, after in zip(pairs.first, pairs.second, strict=True)]
    guard = GuardResult(
        benchmark=benchmark,
        rule=rule,
        finding="not shown to be harmless",
        why="",
        margin=margin,
        mean=found.mean,
        lower=found.lower,
        upper=found.upper,
        p_value=found.p_value,
        p_adjusted=found.p_value,
        compared=1,
        original=original.metrics,
        expo=expo.metrics,
        n_judged=len(pairs.first),
        n_failed=len(original.scores.keys() | expo.scores.keys()) - len(pairs.first),
        lost=sum(change < 0 for change in changes),
        won=sum(change > 0 for change in changes),
    )
    return corrected_guard(guard, found.p_value, 1)


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
    """Applies Holm's correction over the families of one run, for each benchmark and judge by itself.

    The families' guards are tests of the same Holm family.
    """
    corrected = list(verdicts)
    for group in {(verdict.benchmark, verdict.judge) for verdict in verdicts}:
        members = [i for i, verdict in enumerate(verdicts) if (verdict.benchmark, verdict.judge) == group]
        tests = [p for i in members for p in _p_values(verdicts[i])]
        adjusted, guarded = iter(holm(tests)), len(tests) > len(members)
        for i in members:
            verdict = verdicts[i].model_copy(update={"beside_guards": guarded and not verdicts[i].guards})
            corrected[i] = _correct(verdict, adjusted, len(tests))
    return tuple(corrected)


def _p_values(verdict: Verdict) -> list[float]:
    return [verdict.difference.p_value, *(guard.p_value for guard in verdict.guards)]


def _correct(verdict: Verdict, adjusted: Iterator[float], compared: int) -> Verdict:
    """The verdict by its adjusted p-values, which are taken from the iterator in the order of `_p_values`."""
    p = next(adjusted)
    guards = tuple(corrected_guard(guard, next(adjusted), compared) for guard in verdict.guards)
    counted = verdict.model_copy(update={"p_adjusted": p, "compared": compared, "guards": guards})
    outcome, rule = _outcome(counted)
    costly = [guard for guard in guards if guard.finding == "at a cost"]
    if outcome == "better" and costly:
        names = " and ".join(guard.benchmark for guard in costly)
        outcome, rule = "better, at a cost", f"{rule}; {names} fell by more than the margin"
    return counted.model_copy(update={"outcome": outcome, "rule": rule})


def _outcome(verdict: Verdict) -> tuple[Outcome, str]:
    """Interval and test have to agree: neither alone makes a family better or worse."""
    difference, p = verdict.difference, verdict.p_adjusted
    test = (
        "the sign-flip p is" if verdict.compared == 1 else f"the sign-flip p (Holm over {verdict.tests}) is"
    )
    ends = f"the 95% interval {interval(difference.lower, difference.upper)}"
    if difference.lower <= 0 <= difference.upper:
        return "no evidence", f"{ends} includes zero"
    if p >= LEVEL:
        return "no evidence", f"{test} {p_value(p)}, not below {LEVEL}"
    outcome: Outcome = "better" if difference.mean > 0 else "worse"
    return outcome, f"{ends} excludes zero and {test} {p_value(p)}, below {LEVEL}"
