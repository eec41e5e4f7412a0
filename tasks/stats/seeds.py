"""Several generations of one model: their mean, and the noise that they show.

Each generation has a seed of its own and is judged by itself; what is compared between two models
is then each item's mean over the seeds (arXiv 2411.00640, section 3.1: resampling answers lowers the
variance within an item, and the items stay the unit of the test).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from tasks.core.values import Value
from tasks.stats import formatting
from tasks.stats.figures import ArmMetrics
from tasks.stats.paired import paired_difference

__all__ = ["NoiseBand", "mean_figures", "mean_scores", "noise_band", "noise_sentence"]

K = TypeVar("K", bound=Hashable)


class NoiseBand(Value):
    """What one model differs by from itself under another seed (an A/A run).

    benchmark, judge  of whose scores it is
    difference        the second generation's mean score less the first's, in the benchmark's points
    lower, upper      95% interval: a gain inside of it would be no wonder
    n                 items that both have a judgment of
    """

    benchmark: str
    judge: str
    difference: float
    lower: float
    upper: float
    n: int


def noise_band(
    benchmark: str,
    judge: str,
    first: Mapping[K, float],
    again: Mapping[K, float],
    clusters: Mapping[K, object] | None = None,
) -> NoiseBand:
    """The band of two generations' scores by item.

    Raises:
        InputError: fewer than two items (or clusters) have both scores.
    """
    both = [item for item in first if item in again]
    found = paired_difference(
        [first[item] for item in both],
        [again[item] for item in both],
        [clusters[item] for item in both] if clusters else None,
    )
    return NoiseBand(
        benchmark=benchmark,
        judge=judge,
        difference=found.mean,
        lower=found.lower,
        upper=found.upper,
        n=len(both),
    )


def noise_sentence(family: str, band: NoiseBand) -> str:
    """The band in words."""
    benchmark, interval = (
        formatting.benchmark_title(band.benchmark),
        formatting.interval(band.lower, band.upper),
    )
    return (
        f"{family}, the original against itself under another seed, {benchmark}: "
        f"{formatting.signed(band.difference)}, 95% {interval}, over {band.n} items. "
        "A gain that this interval covers may be noise."
    )


def mean_scores(scores: Sequence[Mapping[K, float]]) -> dict[K, float]:
    """Each item's mean over the generations, for the items that all have."""
    return {
        item: sum(one[item] for one in scores) / len(scores)
        for item in scores[0]
        if all(item in one for one in scores)
    }


def mean_figures(figures: Sequence[ArmMetrics]) -> ArmMetrics:
    """Field by field the mean; what one generation lacks the mean lacks. Counts are summed.

    The mean of standard errors is at least the standard error of the mean.
    """
    if len(figures) == 1:
        return figures[0]
    every = [one.model_dump() for one in figures]
    return ArmMetrics.model_validate({name: _mean([one[name] for one in every]) for name in every[0]})


def _mean(values: Sequence[Any]) -> Any:  # noqa: ANN401 - of the type that they have
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        return {
            key: _mean([value[key] for value in values]) for key in values[0] if all(key in v for v in values)
        }
    if isinstance(values[0], int):
        return sum(values)
    return sum(values) / len(values)
