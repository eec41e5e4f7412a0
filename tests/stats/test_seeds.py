"""The mean over seeds, and the band of a model against itself."""

import pytest

from tasks.core.errors import InputError
from tasks.stats.figures import ArmMetrics
from tasks.stats.seeds import mean_figures, mean_scores, noise_band


def test_scores_of_items_that_all_have() -> None:
    assert mean_scores([{"a": 1.0, "b": 3.0}, {"b": 5.0, "c": 9.0}]) == {"b": 4.0}


def test_figures_field_by_field() -> None:
    one = ArmMetrics(score=10, standard_error=1, lc_win_rate=8, mean_length=100, truncated=0.5)
    other = ArmMetrics(score=20, standard_error=2, lc_win_rate=None, mean_length=300, truncated=0.0)
    mean = mean_figures([one, other])
    assert (mean.score, mean.standard_error, mean.mean_length, mean.truncated) == (15, 1.5, 200, 0.25)
    assert mean.lc_win_rate is None
    assert mean_figures([one]) is one


def test_a_model_against_itself() -> None:
    """Equal scores have no band; differing ones a band around their difference."""
    first = {number: float(number % 7) for number in range(100)}
    still = noise_band("alpaca_eval", "j", first, first)
    assert (still.difference, still.lower, still.upper, still.n) == (0, 0, 0, 100)
    again = {number: score + (number % 3 - 1) for number, score in first.items() if number < 90}
    band = noise_band("alpaca_eval", "j", first, again)
    assert band.n == 90 and band.lower < band.difference == 0 < band.upper


def test_turns_of_a_question_go_together() -> None:
    first = {(question, turn): 5.0 for question in range(20) for turn in (1, 2)}
    again = {key: 5.0 + (key[0] % 2) for key in first}
    apart = noise_band("mt_bench", "j", first, again)
    together = noise_band("mt_bench", "j", first, again, {key: key[0] for key in first})
    assert together.upper - together.lower > apart.upper - apart.lower


def test_too_few_items() -> None:
    with pytest.raises(InputError):
        noise_band("alpaca_eval", "j", {"a": 1.0}, {"a": 1.0})
