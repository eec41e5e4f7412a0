"""Guards beside a gain: what is claimed of them, how often wrongly, and what too little data shows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import InputError
from tasks.stats.decision import Verdict, across_families, decide, decide_guard
from tasks.stats.margins import GuardResult, margin_test
from tasks.stats.metrics import ArmMetrics, ArmResult
from tasks.stats.paired import holm
from tests.stats.test_decision import judged

ARM = ArmMetrics(score=50.0, standard_error=2.0, mean_length=0)


def guard(lost: int, won: int, n: int = 500, margin: float = 3.0, name: str = "ifeval") -> GuardResult:
    """Of n items so many are lost and won, the others alike."""
    before = [100.0] * lost + [0.0] * won + [100.0] * (n - lost - won)
    after = [0.0] * lost + [100.0] * won + [100.0] * (n - lost - won)
    results = (ArmResult(metrics=ARM, scores=dict(enumerate(scores))) for scores in (before, after))
    return decide_guard(name, "a rule", margin, *results)


def guarded(shift: float, *guards: GuardResult, **more: Any) -> Verdict:  # noqa: ANN401
    return across_families([judged(shift, guards=guards, **more)])[0]


def test_the_three_findings() -> None:
    assert guard(60, 5).finding == "at a cost"
    assert guard(5, 6).finding == "harmless"
    assert guard(30, 20).finding == "not shown to be harmless"
    assert guard(30, 20).why.endswith("contains −3.0") and (guard(30, 20).lost, guard(30, 20).won) == (30, 20)


def test_the_fourth_outcome_needs_a_gain_and_a_cost() -> None:
    found = guarded(5, guard(60, 5), guard(5, 6, name="gsm8k"))
    assert found.outcome == "better, at a cost"
    assert found.rule.endswith("; ifeval fell by more than the margin") and "Holm over 3 tests" in found.rule
    assert guarded(5, guard(30, 20)).outcome == "better", "not shown to be harmless is no cost"
    assert guarded(0.3, guard(60, 5)).outcome == "no evidence"
    assert guarded(-5, guard(60, 5)).outcome == "worse"
    assert Verdict.model_validate_json(found.model_dump_json()) == found
    assert "guards" not in judged(5).model_dump()


def test_gain_and_guards_are_one_holm_family() -> None:
    """What each shows alone, thirteen tests need not show."""
    alone = guard(33, 5)
    assert alone.finding == "at a cost"
    others = [guarded(0.1, guard(30, 20), family=f"other-{n}") for n in range(6)]
    among = across_families([guarded(1.3, alone), *others])
    assert among[0].compared == 14 and among[0].guards[0].compared == 14
    assert among[0].guards[0].finding == "not shown to be harmless"
    tests = [p for found in among for p in (found.difference.p_value, *(g.p_value for g in found.guards))]
    adjusted = [p for found in among for p in (found.p_adjusted, *(g.p_adjusted for g in found.guards))]
    assert adjusted == holm(tests)


@pytest.mark.parametrize("n", [2, 10, 100])
def test_a_few_equal_items_show_nothing(n: int) -> None:
    """Without a floor the interval of equal items is a point, and ten of them would show no harm."""
    found = guard(0, 0, n=n)
    assert found.finding == "not shown to be harmless" and found.mean == 0 and found.lower < -3


def test_many_equal_items_do_show_it() -> None:
    assert guard(0, 0, n=200).finding == "harmless"


def test_missing_items_are_in_neither_arm() -> None:
    before = ArmResult(metrics=ARM, scores={1: 100.0, 2: 100.0, 3: None, 4: 0.0})
    after = ArmResult(metrics=ARM, scores={1: 100.0, 2: 0.0, 3: 100.0})
    found = decide_guard("ifeval", "a rule", 3, before, after)
    assert (found.n_judged, found.n_failed, found.lost, found.mean) == (2, 2, 1, -50)
    with pytest.raises(InputError, match="at least two judged items"):
        decide_guard("ifeval", "a rule", 3, before, ArmResult(metrics=ARM, scores={1: 0.0}))
    with pytest.raises(InputError, match="between 0 and 100 points, not 0"):
        margin_test([0, 100], [0, 100], 0)


@settings(max_examples=40)
@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([1.0, 3.0, 10.0]))
def test_interval_and_test_say_the_same(lost: int, won: int, margin: float) -> None:
    found = guard(lost, won, n=120, margin=margin)
    assert (found.lower <= -margin <= found.upper) == (found.p_value >= 0.05)


def draws(n: int, lost: float, won: float, times: int, seed: int) -> np.ndarray:
    """shape (times, n): differences of items, of which these shares are lost and won."""
    u = np.random.default_rng(seed).random((times, n))
    return np.where(u < lost, -100.0, np.where(u > 1 - won, 100.0, 0.0))


@pytest.mark.parametrize(("n", "won"), [(541, 0.0), (541, 0.07), (1319, 0.05), (200, 0.02), (60, 0.0)])
def test_level_at_the_margin_and_coverage_of_the_interval(n: int, won: float) -> None:
    """Exactly the margin is lost: either claim would be wrong, each in at most one run of forty.

    Four standard errors of 2,000 draws are allowed for, and half a point for so few lost items.
    """
    tests = [margin_test(np.zeros(n), row, 3.0) for row in draws(n, won + 0.03, won, 2000, seed=n)]
    harmless = np.mean([found.lower > -3 for found in tests])
    harmful = np.mean([found.upper < -3 for found in tests])
    allowed = 4 * (0.025 * 0.975 / 2000) ** 0.5 + 0.005
    assert harmless <= 0.025 + allowed and harmful <= 0.025 + allowed
    assert np.mean([found.lower <= -3 <= found.upper for found in tests]) >= 0.93


def test_the_family_of_tests_keeps_its_level() -> None:
    """A gain of nothing and three guards at the margin: some wrong claim in at most one run of twenty."""
    rng, wrong = np.random.default_rng(0), 0
    guards = [draws(541, 0.08, 0.05, 1000, seed) for seed in (1, 2, 3)]
    for run in range(1000):
        normal = rng.normal(0, 10, 400)
        superiority = margin_test(np.full(400, 50.0), 50.0 + normal - 1e-9, 1e-6)
        p_values = [superiority.p_value, *(margin_test(np.zeros(541), g[run], 3.0).p_value for g in guards)]
        wrong += min(holm(p_values)) < 0.05
    assert wrong / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_a_real_loss_is_found_and_harmlessness_shown_with_enough_items() -> None:
    lost = [margin_test(np.zeros(1319), row, 3.0) for row in draws(1319, 0.12, 0.04, 200, seed=5)]
    assert np.mean([found.upper < -3 for found in lost]) > 0.95
    same = [margin_test(np.zeros(1319), row, 3.0) for row in draws(1319, 0.04, 0.04, 200, seed=6)]
    assert np.mean([found.lower > -3 for found in same]) > 0.95


def test_a_gain_is_decided_as_before_where_no_guard_is_named() -> None:
    found = decide(
        "f", 0.5, "alpaca_eval", "j",
        ArmResult(metrics=ARM, scores={n: float(n) for n in range(30)}),
        ArmResult(metrics=ARM, scores={n: n + 1.0 for n in range(30)}),
        unit="points",
    )  # fmt: skip
    assert (found.outcome, found.compared, found.tests) == ("better", 1, "1 families")
