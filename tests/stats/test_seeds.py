"""The mean over seeds, and the band of a model against itself."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.core.errors import InputError
from tasks.stats.metrics import ArmMetrics, ArmResult
from tasks.stats.seeds import mean_result, noise_band

FIGURES = ArmMetrics(score=10, standard_error=1, lc_win_rate=8, mean_length=100, truncated=0.5)


def result(scores: Mapping[Any, float | None], **more: Any) -> ArmResult:  # noqa: ANN401
    return ArmResult(metrics=FIGURES, scores=dict(scores), **more)


def test_scores_of_items_that_all_have() -> None:
    mean = mean_result([result({"a": 1.0, "b": 3.0}), result({"b": 5.0, "c": 9.0})])
    assert mean.scores == {"a": None, "b": 4.0, "c": None}


def test_figures_field_by_field() -> None:
    first = result({"a": 1.0}, resampled=((7.0, 9.0),))
    other = ArmResult(
        metrics=ArmMetrics(score=20, standard_error=2, mean_length=300, truncated=0.0),
        scores={"a": 2.0},
        resampled=((),),
    )
    mean = mean_result([first, other])
    found = mean.metrics
    assert (found.score, found.standard_error, found.mean_length, found.truncated) == (15, 1.5, 200, 0.25)
    assert found.lc_win_rate is None and mean.resampled == ((7.0, 9.0), ())
    assert mean_result([first]) is first


def test_a_model_against_itself() -> None:
    """Equal scores have no band; differing ones a band around their difference."""
    first = {number: float(number % 7) for number in range(100)}
    still = noise_band("alpaca_eval", "j", result(first), result(first))
    assert (still.difference, still.lower, still.upper, still.n) == (0, 0, 0, 100)
    again = {number: score + (number % 3 - 1) for number, score in first.items() if number < 90}
    band = noise_band("alpaca_eval", "j", result(first), result(again))
    assert band.n == 90 and band.lower < band.difference == 0 < band.upper


def test_turns_of_a_question_go_together() -> None:
    first = {(question, turn): 5.0 for question in range(20) for turn in (1, 2)}
    again = result({key: 5.0 + (key[0] % 2) for key in first})
    alone = noise_band("mt_bench", "j", result(first), again)
    together = noise_band("mt_bench", "j", result(first, clusters={key: key[0] for key in first}), again)
    assert together.upper - together.lower > alone.upper - alone.lower


def test_too_few_items() -> None:
    with pytest.raises(InputError):
        noise_band("alpaca_eval", "j", result({"a": 1.0}), result({"a": 1.0}))
