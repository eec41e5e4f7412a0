"""Each rail, at the edge of what it allows."""

import math

import pytest

from tasks.search.rails import RailLimits, Vitals, broken, read_rails

BASELINE = Vitals(prompts=50, unended=0.04, repeating=0.0, mean_characters=800, log_probability=-0.5)


def _vitals(**changes: float) -> Vitals:
    return BASELINE.model_copy(update=changes)


def test_the_aligned_model_keeps_its_own_rails() -> None:
    assert broken(read_rails(BASELINE, BASELINE, RailLimits())) == ()


@pytest.mark.parametrize(
    ("rail", "within", "beyond"),
    [
        ("no end token", {"unended": 0.14}, {"unended": 0.16}),
        ("repetition", {"repeating": 0.1}, {"repeating": 0.12}),
        ("length ratio", {"mean_characters": 1600}, {"mean_characters": 1601}),
        ("length ratio", {"mean_characters": 400}, {"mean_characters": 399}),
        ("non-finite weights", {"nonfinite": 0}, {"nonfinite": 1}),
        ("loss of log-probability", {"log_probability": -2.5}, {"log_probability": -2.51}),
        ("loss of log-probability", {"log_probability": -0.1}, {"log_probability": -math.inf}),
    ],
)
def test_a_rail_breaks_beyond_its_limit(
    rail: str, within: dict[str, float], beyond: dict[str, float]
) -> None:
    assert broken(read_rails(_vitals(**within), BASELINE, RailLimits())) == ()
    assert broken(read_rails(_vitals(**beyond), BASELINE, RailLimits())) == (rail,)


def test_a_log_probability_that_was_not_measured_is_no_rail() -> None:
    readings = read_rails(_vitals().model_copy(update={"log_probability": None}), BASELINE, RailLimits())
    assert "loss of log-probability" not in {reading.rail for reading in readings}
