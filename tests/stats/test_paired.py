"""The statistics, against distributions whose answer is known and against real annotations."""

import itertools
import json
import tracemalloc
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import InputError
from tasks.core.families import find_family, names
from tasks.stats import paired
from tasks.stats.paired import PairedDifference, detectable, holm, paired_difference

SIMULATIONS = 300


def shares(data: Path, model: str) -> list[float]:
    """The win shares in % of the real annotations of a model."""
    rows = json.loads((data / "annotations" / model / "annotations.json").read_text())
    return [100 * (row["preference"] - 1) for row in rows]


def test_real_annotations_give_the_known_figures(data: Path) -> None:
    found = paired_difference(shares(data, "zephyr_0.05"), shares(data, "zephyr_0.1"))
    assert found.n == 805
    assert found.mean == pytest.approx(5.9391328310 - 5.0087843670, abs=1e-6)  # the official leaderboard's
    assert found.standard_error == pytest.approx(0.5498, abs=1e-4)
    assert found.lower == pytest.approx(-0.12, abs=0.05)
    assert found.upper == pytest.approx(2.02, abs=0.05)
    assert found.p_value == pytest.approx(0.0912, abs=0.009)  # of 400,000 draws; of 10,000: ± 0.0029


def test_pairing_halves_the_error_of_real_annotations(data: Path) -> None:
    """Sister models' answers to an instruction are preferred alike; counted apart, that is thrown away."""
    before, after = np.array(shares(data, "zephyr_0.05")), np.array(shares(data, "zephyr_0.1"))
    assert 0.46 <= np.corrcoef(before, after)[0, 1] <= 0.81
    apart = np.hypot(*(arm.std(ddof=1) / np.sqrt(len(arm)) for arm in (before, after)))
    assert apart == pytest.approx(np.hypot(0.677684, 0.745457), abs=1e-5)  # the official leaderboard's
    assert paired_difference(before, after).standard_error < 0.6 * apart


def test_the_published_gains_are_read_as_they_are_reported() -> None:
    """Raw 4.4 points, length-controlled 2.1; zephyr-7b-beta's 0.9 is below what 805 items can find."""
    published = [figures for name in names("published") if (figures := find_family(name).published)]
    raw, controlled = (
        [after - before for before, after in figures]
        for figures in ([entry.win_rate for entry in published], [entry.lc_win_rate for entry in published])
    )
    assert len(published) == 12
    assert np.mean(raw) == pytest.approx(4.4, abs=0.05)
    assert np.mean(controlled) == pytest.approx(2.1, abs=0.05)
    noise = np.random.default_rng(0).normal(size=805)
    error = 1.42  # of the published difference, with independent errors
    scaled = 0.89 + (noise - noise.mean()) * error * np.sqrt(805) / noise.std(ddof=1)
    found = paired_difference(np.zeros(805), scaled)
    assert found.standard_error == pytest.approx(error)
    assert found.detectable == pytest.approx(4, abs=0.05)
    assert found.lower < 0 < found.upper and found.p_value > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 1.0], ids=["no effect", "the detectable effect"])
def test_coverage_level_and_power_are_as_promised(effect: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge-like differences: mostly near zero, some large. The true mean is known, so count."""
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    rng = np.random.default_rng(7)
    size, spread = 120, np.sqrt(0.3) * 40
    true = effect * 2.8016 * spread / np.sqrt(size)
    covered = rejected = 0
    for seed in range(SIMULATIONS):
        difference = true + np.where(rng.random(size) < 0.3, rng.normal(0, 40, size), 0.0)
        found = paired_difference(np.zeros(size), difference, seed=seed)
        covered += found.lower <= true <= found.upper
        rejected += found.p_value < 0.05
    assert 0.91 <= covered / SIMULATIONS <= 0.98  # 0.95 ± three standard errors
    if effect:
        assert 0.72 <= rejected / SIMULATIONS <= 0.88  # 80% power
    else:
        assert 0.015 <= rejected / SIMULATIONS <= 0.09  # 5% level, ± three standard errors


def test_items_that_depend_on_each_other_need_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal turns a question: counted as separate items they reject far too often."""
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    rng = np.random.default_rng(3)
    questions = np.repeat(np.arange(40), 2)
    rejected, covered = {"clusters": 0, "items": 0}, {"clusters": 0, "items": 0}
    for _ in range(200):
        difference = np.repeat(rng.normal(0, 1, 40), 2)
        for way, labels in (("clusters", questions.tolist()), ("items", None)):
            found = paired_difference(np.zeros(80), difference, labels)
            rejected[way] += found.p_value < 0.05
            covered[way] += found.lower <= 0 <= found.upper
    assert 2 <= rejected["clusters"] <= 20
    assert rejected["items"] >= 24
    assert 180 <= covered["clusters"] <= 198  # of 200
    assert covered["items"] <= 176


def test_sign_flip_agrees_with_all_flips_of_few_items() -> None:
    difference = np.array([3.0, 1.0, -0.5, 2.0, 0.25, -1.0, 4.0, 0.0])
    flips = np.array(list(itertools.product([-1, 1], repeat=len(difference))))
    exact = (np.abs(flips @ difference) >= abs(difference.sum()) - 1e-12).mean()
    assert paired_difference(np.zeros(8), difference).p_value == pytest.approx(exact, abs=0.015)


def test_clusters_of_unequal_size_weigh_items_alike() -> None:
    """A question with an unparsed turn counts once, not twice; the figures are worked by hand."""
    found = paired_difference([0, 0, 0], [3, 0, 6], ["a", "a", "b"])
    assert found.mean == 3.0
    assert found.n == 2
    assert found.standard_error == pytest.approx(np.sqrt(2 * (3.0**2 + 3.0**2)) / 3)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=40), st.integers(0, 5))
def test_swapping_the_arms_mirrors_everything(pairs: list[tuple[float, float]], seed: int) -> None:
    original, expo = zip(*pairs, strict=True)
    there, back = paired_difference(original, expo, seed=seed), paired_difference(expo, original, seed=seed)
    assert there.mean == pytest.approx(-back.mean, abs=1e-9)
    assert (there.lower, there.upper) == pytest.approx((-back.upper, -back.lower), abs=1e-9)
    assert there.p_value == back.p_value
    assert there.standard_error == pytest.approx(back.standard_error, abs=1e-9)


def test_equal_arms_are_no_evidence() -> None:
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == PairedDifference(
        mean=0, lower=0, upper=0, standard_error=0, p_value=1, n=2, detectable=0
    )


def test_memory_stays_bounded_for_many_items() -> None:
    """10,000 resamples of 4,000 items at once would be 320 MB."""
    tracemalloc.start()
    paired_difference(np.zeros(4_000), np.random.default_rng(0).normal(size=4_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize(
    ("original", "expo", "clusters", "word"),
    [
        ([1.0, 2.0], [1.0], None, "same items"),
        ([1.0, float("nan")], [1.0, 2.0], None, "item 1"),
        ([1.0], [2.0], None, "at least two"),
        ([1.0, 2.0], [2.0, 3.0], ["a", "a"], "at least two"),
        ([1.0, 2.0], [2.0, 3.0], ["a"], "label"),
        ([], [], None, "at least two"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    original: list[float], expo: list[float], clusters: list[str] | None, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        paired_difference(original, expo, clusters)


def test_twelve_families_without_any_effect_are_rarely_called_better_or_worse() -> None:
    """The family-wise level, and the power that is left; without correction 46% of such runs would be."""
    rng = np.random.default_rng(0)
    nothing = rng.random((3000, 12))
    wrong = np.mean([min(holm(p_values.tolist())) < 0.05 for p_values in nothing])
    assert 0.038 <= wrong <= 0.062  # 0.049 ± three standard errors
    assert np.mean(nothing.min(axis=1) < 0.05) > 0.4


def test_what_is_said_to_be_detectable_is_found_in_four_of_five_runs() -> None:
    """One family of twelve has an effect of just that size, in units of its standard error."""
    rng = np.random.default_rng(1)
    normal = NormalDist()
    found = 0
    for p_values in rng.random((3000, 12)):
        p_values[0] = 2 * normal.cdf(-abs(detectable(1.0, families=12) + rng.normal()))
        found += holm(p_values.tolist())[0] < 0.05
    assert 0.775 <= found / 3000 <= 0.835  # 0.8, a little more where another family goes first
    assert detectable(1.0, families=12) > 1.3 * detectable(1.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=14))
def test_holm_never_lowers_a_p_value_nor_changes_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(raw <= value <= 1 for raw, value in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == min(1.0, min(p_values) * len(p_values))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
