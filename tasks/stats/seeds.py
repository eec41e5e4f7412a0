"""Several generations of one model: their mean, and the noise that they show.

Each generation has a seed of its own and is judged by itself; what is compared between two models
is then each item's mean over the seeds (arXiv 2411.00640, section 3.1: resampling answers lowers the
variance within an item, and the items stay the unit of the test).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tasks.core.values import Value
from tasks.stats.decision import paired_scores
from tasks.stats.metrics import ArmMetrics, ArmResult
from tasks.stats.paired import paired_difference

__all__ = ["NoiseBand", "mean_result", "noise_band"]


class NoiseBand(Value):
    """The difference of one model from itself under another seed (an A/A run).

    benchmark, judge  of whose scores it is
    difference        the second generation's mean score less the first's, in the benchmark's points
    lower, upper      95% interval: a gain inside of it may be noise
    n                 items that both have a judgment of
    """

    benchmark: str
    judge: str
    difference: float
    lower: float
    upper: float
    n: int


def noise_band(benchmark: str, judge: str, first: ArmResult, again: ArmResult) -> NoiseBand:
    """The band of two generations of one model, paired by item.

    Raises:
        InputError: fewer than two items (or clusters) have both scores.
    """
    pairs = paired_scores(first, again)
    found = paired_difference(pairs.first, pairs.second, pairs.clusters)
    return NoiseBand(
        benchmark=benchmark,
        judge=judge,
        difference=found.mean,
        lower=found.lower,
        upper=found.upper,
        n=len(pairs.first),
    )


def mean_result(results: Sequence[ArmResult]) -> ArmResult:
    """One arm's result over its generations: each item's mean score, for the items that all have one.

    The mean of standard errors is at least the standard error of the mean.
    """
    if len(results) == 1:
        return results[0]
    every = [dict(result.metrics) for result in results]
    means = {name: _mean([metrics[name] for metrics in every]) for name in every[0]}
    items = dict.fromkeys(item for result in results for item in result.scores)
    return ArmResult(
        metrics=ArmMetrics.model_validate(means),
        scores={item: _mean([result.scores.get(item) for result in results]) for item in items},
        clusters=results[0].clusters,
        resampled=tuple(fits for result in results for fits in result.resampled),
        lc_note=results[0].lc_note,
    )


def _mean(values: Sequence[Any]) -> Any:  # noqa: ANN401 - of the type that they have
    """The mean; None where one is, and counts are summed."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict) and all(isinstance(count, int) for v in values for count in v.values()):
        return dict(sum(map(Counter, values), Counter()))
    if isinstance(values[0], dict):
        return {
            key: _mean([value[key] for value in values]) for key in values[0] if all(key in v for v in values)
        }
    if isinstance(values[0], int):
        return sum(values)
    return sum(values) / len(values)
