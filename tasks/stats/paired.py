"""Paired tests of the difference between two arms, by instruction or by question.

Both arms answer the same items, so only the differences matter: pairing cuts a standard
error by about half. Items that depend on each other (the two turns of an MT-Bench
question) form a cluster, and clusters are what is resampled.

Sources: paired differences and clustered standard errors, arXiv 2411.00640 (sections 2.2
and 4.2); the percentile bootstrap, Efron and Tibshirani (1993), chapter 13; the add-one
rule for permutation tests, Phipson and Smyth (2010); Holm (1979).
"""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict

from tasks.core.errors import InputError
from tasks.core.values import Value

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "FiniteValue",
    "PairedDifference",
    "detectable",
    "gain_error",
    "holm",
    "mean_and_error",
    "mean_interval",
    "paired_difference",
]

RESAMPLES = 10_000
LEVEL = 0.05
POWER = 0.8
CHUNK = 1_000_000  # numbers in one batch of resamples: at most 8 MB for each array

FloatArray = NDArray[np.float64]


class FiniteValue(Value):
    """A value whose numbers are all finite: what is not available is None, never NaN."""

    model_config = ConfigDict(allow_inf_nan=False)


class PairedDifference(FiniteValue):
    """+ ExPO minus original, over the same items, in the unit of the inputs.

    mean            the mean difference over items
    lower, upper    the 95% percentile bootstrap interval of the mean
    standard_error  of the mean; clustered where clusters were given
    p_value         two-sided sign-flip test of "no difference"
    n               what was resampled: instructions, or questions
    detectable      the smallest true difference that such a run finds with 80% power, by itself
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    p_value: float
    n: int
    detectable: float


def paired_difference(
    original: ArrayLike, expo: ArrayLike, clusters: Sequence[object] | None = None, seed: int = 0
) -> PairedDifference:
    """Compares two arms item by item.

    original, expo  shape (items,): scores of the same items in the same order
    clusters        one label an item: items that share a label are resampled together

    Raises:
        InputError: the lengths differ, a score is not finite, or there are fewer than two units.
    """
    sums, counts = _by_cluster(_differences(original, expo), clusters)
    rng = np.random.default_rng(seed)
    lower, upper = _interval(sums, counts, rng)
    error = _standard_error(sums, counts)
    return PairedDifference(
        mean=float(sums.sum() / counts.sum()),
        lower=lower,
        upper=upper,
        standard_error=error,
        p_value=_sign_flip(sums, rng),
        n=len(sums),
        detectable=detectable(error),
    )


def mean_and_error(
    original: ArrayLike, expo: ArrayLike, clusters: Sequence[object] | None = None
) -> tuple[float, float, int]:
    """The mean difference over items, its standard error, and the number of units; as `paired_difference`."""
    sums, counts = _by_cluster(_differences(original, expo), clusters)
    return float(sums.sum() / counts.sum()), _standard_error(sums, counts), len(sums)


def detectable(standard_error: float, families: int = 1) -> float:
    """The smallest true difference that is found with 80% power among `families` compared at once.

    (z_{1−α/2m} + z_0.8)·SE: Holm's first step, which no other family makes easier.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - LEVEL / 2 / families) + normal.inv_cdf(POWER)) * standard_error


def gain_error(original: Sequence[Sequence[float]], expo: Sequence[Sequence[float]]) -> float | None:
    """The standard error of a gain between two fits, by bootstraps of both that drew the same items.

    original, expo  for each generation of an arm the fit of each resample; None comes of one without
    """
    if not original or not expo or not all(original) or not all(expo):
        return None
    before, after = (np.mean(np.asarray(arm, np.float64), axis=0) for arm in (original, expo))
    return float(np.std(after - before, ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: adjusted ≤ 0.05 keeps the family-wise level."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def mean_interval(sums: ArrayLike, counts: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of Σ sums / Σ counts, by resampling units.

    sums, counts  shape (units,), at least two: the sum of each unit's values, and how many they are
    """
    rng = np.random.default_rng(seed)
    return _interval(np.asarray(sums, np.float64), np.asarray(counts, np.float64), rng)


def _differences(original: ArrayLike, expo: ArrayLike) -> FloatArray:
    before, after = np.asarray(original, np.float64), np.asarray(expo, np.float64)
    if before.ndim != 1 or before.shape != after.shape:
        raise InputError(
            f"a paired comparison needs the same items in both arms; got scores {before.shape}, {after.shape}"
        )
    difference = after - before
    if not np.isfinite(difference).all():
        bad = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise InputError(
            f"the score of item {bad} is not a finite number; leave unjudged items out of both arms"
        )
    return difference


def _by_cluster(difference: FloatArray, clusters: Sequence[object] | None) -> tuple[FloatArray, FloatArray]:
    """The sum of differences and the number of items of each unit; without clusters an item is a unit."""
    labels = range(len(difference)) if clusters is None else clusters
    if len(labels) != len(difference):
        raise InputError(f"{len(difference)} items, but {len(labels)} cluster labels: give one label an item")
    codes: dict[object, int] = {}
    member = np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.intp)
    if len(codes) < 2:
        raise InputError(f"a verdict needs at least two judged items, there are {len(codes)}")
    sums = np.bincount(member, weights=difference, minlength=len(codes)).astype(np.float64)
    return sums, np.bincount(member, minlength=len(codes)).astype(np.float64)


def _standard_error(sums: FloatArray, counts: FloatArray) -> float:
    """arXiv 2411.00640, equation 4, with the small-sample factor G/(G-1); plain s/√n without clusters."""
    units, items = len(sums), counts.sum()
    residual = sums - counts * (sums.sum() / items)
    return float(np.sqrt(units / (units - 1) * (residual**2).sum()) / items)


def _interval(sums: FloatArray, counts: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean over items, by resampling units."""
    from scipy.stats import bootstrap

    found = bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=1 - LEVEL,
        batch=max(1, CHUNK // len(sums)),
        rng=rng,
    ).confidence_interval
    return float(found.low), float(found.high)


def _sign_flip(sums: FloatArray, rng: np.random.Generator) -> float:
    """Under "no difference" the sign of each unit's sum is a coin toss."""
    total = sums.sum()
    tolerance = (
        1e-9 * np.abs(sums).sum()
    )  # a flip that equals the observed sum must count, whatever the rounding
    extreme = 0
    for rows in _chunks(len(sums)):
        heads = rng.integers(0, 2, size=(rows, len(sums)), dtype=np.int8).astype(np.float64)
        flipped = 2 * (heads @ sums) - total  # heads keep their sign, tails lose it
        extreme += int((np.abs(flipped) >= abs(total) - tolerance).sum())
    return (1 + extreme) / (1 + RESAMPLES)


def _chunks(units: int) -> Iterator[int]:
    """Batches of resamples that keep memory bounded, whatever the number of units."""
    rows = max(1, CHUNK // units)
    for start in range(0, RESAMPLES, rows):
        yield min(rows, RESAMPLES - start)
