"""The word of a verdict, and what it takes to get it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.benchmarks.registry import find_benchmark
from tasks.core.families import registry
from tasks.reports.sentences import length_controlled, reason, sentence
from tasks.stats.decision import Verdict, across_families, decide
from tasks.stats.formatting import format_distinct, interval, p_value, signed
from tasks.stats.metrics import ArmMetrics, ArmResult

ARM = ArmMetrics(score=20.0, standard_error=1.4, mean_length=1000.0)


def judged(shift: float, spread: float = 10.0, **more: Any) -> Verdict:  # noqa: ANN401
    """A verdict over 100 items whose differences have exactly this mean and about this spread."""
    noise = np.linspace(-spread, spread, 100)
    fields: dict[str, Any] = {
        "family": "demo",
        "alpha": 0.5,
        "benchmark": "alpaca_eval",
        "judge": "a judge",
    } | more
    return decide(
        **fields,
        original=ArmResult(metrics=ARM, scores=dict.fromkeys(range(100), 20.0)),
        expo=ArmResult(
            metrics=ARM.model_copy(update={"score": 20.0 + shift, "mean_length": 1100.0}),
            scores=dict(enumerate(20.0 + shift + noise)),
        ),
        unit="percentage points",
    )


def test_the_three_words() -> None:
    assert judged(5).outcome == "better"
    assert judged(-5).outcome == "worse"
    assert judged(0.3).outcome == "no evidence"


def test_the_rule_names_what_decided() -> None:
    assert "excludes zero" in judged(5).rule
    assert "includes zero" in judged(0.3).rule
    assert "−" in judged(0.3).rule, "numbers carry a true minus sign"


def test_a_word_for_a_family_alone_may_not_survive_many_families() -> None:
    alone = judged(1.3)
    assert alone.outcome == "better"
    corrected = across_families([alone] + [judged(0.1, family=f"other-{n}") for n in range(12)])[0]
    assert corrected.outcome == "no evidence"
    assert "Holm over 13 families" in corrected.rule
    assert corrected.difference == alone.difference, "the correction changes the word, never the figures"


def test_different_judges_are_corrected_apart() -> None:
    verdicts = across_families([judged(1.3, judge="one"), judged(1.3, judge="two")])
    assert [verdict.compared for verdict in verdicts] == [1, 1]
    assert [verdict.p_adjusted for verdict in verdicts] == [
        verdict.difference.p_value for verdict in verdicts
    ]


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6))
def test_better_and_worse_need_interval_and_test_together(shifts: list[float]) -> None:
    for verdict in across_families([judged(shift) for shift in shifts]):
        found = verdict.difference
        excludes = found.lower > 0 or found.upper < 0
        assert (verdict.outcome != "no evidence") == (excludes and verdict.p_adjusted < 0.05)
        assert verdict.outcome != "better" or found.mean > 0
        assert verdict.outcome != "worse" or found.mean < 0


def test_published_figures_are_those_of_the_benchmark_and_carry_their_judge() -> None:
    entry = registry()["zephyr-7b-beta"].published
    assert entry is not None
    alpaca = judged(1, published=find_benchmark("alpaca_eval").published(entry), judge="gpt-4-1106-preview")
    assert alpaca.published is not None
    assert alpaca.published.gain == pytest.approx(0.9)
    assert alpaca.published_by_same_judge
    assert not alpaca.model_copy(update={"judge": "a small judge"}).published_by_same_judge
    rating = find_benchmark("mt_bench").published(entry)
    assert rating is not None
    assert (rating.judge, rating.score) == ("gpt-4", (7.02, 7.06))


def test_the_words_say_what_was_found_and_what_could_have_been_missed() -> None:
    found = judged(0.3)
    assert sentence(found).startswith(
        "No evidence of a difference: win rate 20.0 → 20.3, +0.30 percentage points"
    )
    ends = interval(found.difference.lower, found.difference.upper)
    assert reason(found) == (
        f"The 95% interval {ends} includes zero. The smallest effect that this run could have found "
        f"(with 80% power): {found.difference.detectable:.2f} percentage points."
    )
    among = across_families([found] * 12)[0]
    assert f"(with 80% power, among 12 families): {among.detectable:.2f} percentage points" in reason(among)
    assert among.detectable > found.detectable == found.difference.detectable
    assert sentence(judged(-5)).startswith("+ ExPO is worse: ")
    assert "rating 20.00 → 20.30" in sentence(judged(0.3, benchmark="mt_bench"))


def test_the_length_controlled_gain_has_its_interval_or_says_that_there_is_none() -> None:
    found = judged(1)
    arms = [found.original.model_copy(update={"lc_win_rate": rate}) for rate in (18.0, 20.5)]
    both = found.model_copy(update={"original": arms[0], "expo": arms[1]})
    stated = "Length-controlled win rate 18.0 → 20.5, +2.50 percentage points"
    assert length_controlled(both).startswith(f"{stated} (without an interval of its own)")
    sure = both.model_copy(update={"lc_error": 1.0})
    assert sure.lc_interval == pytest.approx((0.54, 4.46), abs=0.01)
    assert length_controlled(sure).startswith(f"{stated} (95% interval +0.54 to +4.46)")
    assert Verdict.model_validate_json(sure.model_dump_json()) == sure
    assert length_controlled(found.model_copy(update={"lc_note": "not available, because x"})) == (
        "Length-controlled win rate not available, because x."
    )
    assert length_controlled(judged(1, benchmark="mt_bench")) == ""


def test_not_available_is_none_never_nan() -> None:
    """A NaN would be written as null into the JSON report, which then could not be read."""
    with pytest.raises(ValidationError, match="finite"):
        ArmMetrics(score=20.0, standard_error=1.4, mean_length=1000.0, lc_win_rate=float("nan"))
    assert judged(1).lc_gain is None
    assert Verdict.model_validate_json(judged(1).model_dump_json()) == judged(1)


def _read(number: str) -> float:
    return float(number.replace("−", "-"))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.floats(-5, 5), st.floats(-4, 1), st.integers(1, 12))
def test_no_rounding_contradicts_the_word(shift: float, magnitude: float, families: int) -> None:
    """A bound close to zero and a p-value close to the level are the ones that rounding would move."""
    scale = 10**magnitude
    found = across_families([judged(shift * scale, spread=10 * scale)] * families)[0]
    lower, upper = map(_read, interval(found.difference.lower, found.difference.upper).split(" to "))
    excludes = lower > 0 or upper < 0
    assert excludes == (found.difference.lower > 0 or found.difference.upper < 0)
    below = float(p_value(found.p_adjusted).removeprefix("<")) < 0.05
    assert (found.outcome != "no evidence") == (excludes and below)
    if found.outcome != "no evidence":
        assert (_read(signed(found.difference.mean)) > 0) == (found.outcome == "better")
    assert interval(found.difference.lower, found.difference.upper) in sentence(found)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3))
@example(0.00349, 2)
@example(-0.004, 1)
@example(5e-324, 2)
@example(-0.0, 2)
def test_a_number_keeps_its_sign_however_small(value: float, digits: int) -> None:
    written = signed(value, digits)
    assert np.sign(_read(written)) == np.sign(value)
    assert written[:1] in "+−" or not value


@given(st.floats(0.001, 1))
@example(0.04999)
@example(0.05)
@example(0.0499999999999)
def test_a_p_value_stays_on_its_side_of_the_level(p: float) -> None:
    assert (float(p_value(p)) < 0.05) == (p < 0.05)


def test_ends_of_an_interval_are_alike_in_digits() -> None:
    assert interval(0.003, 2.221) == "+0.003 to +2.221"
    assert interval(-0.12, 2.02) == "−0.12 to +2.02"
    assert interval(0.0, 0.0) == "0.00 to 0.00"
    assert interval(3e-9, 2.0) == "+3e-09 to +2.00"


@given(st.floats(0, 100), st.floats(0, 100))
@example(0.501, 0.499)
@example(0.5, 0.50000001)
def test_numbers_that_are_compared_are_written_distinctly(first: float, second: float) -> None:
    low, high = map(float, format_distinct(first, second))
    if abs(first - second) > 1e-12:
        assert (low < high) == (first < second) and (low > high) == (first > second)
