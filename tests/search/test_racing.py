"""The race, on pairs whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.core.errors import InputError
from tasks.search.candidates import Grid
from tasks.search.racing import Finish, RaceSettings, Standing, race
from tasks.search.rails import Vitals
from tests.search.simulated import Curve, SimulatedPair, collapse, flat, late_peak, peak, plateau

PROMPTS = 500
REPLICATES = 40


def _race(pair: SimulatedPair, **settings: object) -> Finish:
    return race(RaceSettings.model_validate(settings), pair.prompts, pair)


def _fate(finish: Finish, alpha: float) -> Standing:
    return next(standing for standing in finish.standings if standing.alpha == alpha)


def test_rounds_double_and_the_same_seeds_give_the_same_race() -> None:
    first, again = _race(SimulatedPair(peak, 3)), _race(SimulatedPair(peak, 3))
    assert first == again
    assert first.rounds == (32, 64, 128, 256, 500)[: len(first.rounds)]


def test_zero_answers_every_round_first() -> None:
    pair = SimulatedPair(peak, 3)
    finish = _race(pair)
    for count in finish.rounds:
        assert next(alpha for alpha, prompts in pair.asked if prompts == count) == 0.0


def test_who_trails_answers_no_more() -> None:
    pair = SimulatedPair(collapse, 1)
    finish = _race(pair)
    assert finish.choice is None and finish.best == 0.0
    assert _fate(finish, 2.0).fate == "trails the best" and _fate(finish, 2.0).prompts == 32
    assert finish.answers < pair.prompts * len(finish.standings) / 2


def test_a_late_peak_is_found_by_going_up() -> None:
    finish = _race(SimulatedPair(late_peak, 5))
    assert max(standing.alpha for standing in finish.standings) > 10
    assert finish.choice is not None and 3 < finish.choice < 25


def test_the_grid_is_refined_once_around_the_best() -> None:
    finish = _race(SimulatedPair(peak, 11, noise=0.05))
    tried = {standing.alpha for standing in finish.standings}
    assert {0.44, 0.81} <= tried and len(tried) == 9
    assert finish.choice is not None and 0.3 < finish.choice < 0.9


def test_on_a_plateau_the_smallest_that_cannot_be_told_apart_is_chosen() -> None:
    finish = _race(SimulatedPair(plateau, 2, noise=0.1))
    assert finish.choice == min(finish.tied) and 0.25 < finish.choice < 0.45
    assert len(finish.tied) > 1


def test_a_broken_rail_vetoes_what_the_objective_likes_and_ends_the_way_up() -> None:
    pair = SimulatedPair(late_peak, 5, gamed_from=3.0)
    finish = _race(pair)
    assert _fate(finish, 3.6).fate == "broke a rail" and _fate(finish, 3.6).broken == ("no end token",)
    assert _fate(finish, 3.6).score is None, "an objective is not paid for a broken candidate"
    assert max(standing.alpha for standing in finish.standings) == 3.6
    assert finish.best <= 2.7


def test_candidates_above_a_broken_rail_are_not_asked() -> None:
    pair = SimulatedPair(peak, 5, gamed_from=0.5)
    finish = _race(pair)
    assert _fate(finish, 0.6).fate == "broke a rail"
    assert {_fate(finish, alpha).fate for alpha in (1.1, 2.0)} == {"above a broken rail"}
    assert not {1.1, 2.0} & {alpha for alpha, _ in pair.asked}


def test_where_all_that_are_left_break_a_rail_later_the_answer_is_none() -> None:
    """α = 0 trails after the first round; in the second every other candidate loses its end token."""

    class LateDamage(SimulatedPair):
        def vitals(self, alpha: float, prompts: int) -> Vitals:
            found = super().vitals(alpha, prompts)
            damaged = alpha != 0 and prompts > 32
            return found.model_copy(update={"unended": 0.9}) if damaged else found

    seen: list[tuple[Standing, ...]] = []
    pair = LateDamage(plateau, 3, noise=0.02)
    finish = race(RaceSettings(), pair.prompts, pair, lambda _, play: seen.append(play()))
    (first, second) = seen
    assert next(standing.fate for standing in first if standing.alpha == 0) == "trails the best"
    assert {standing.alpha for standing in second if standing.fate == "tied with the best"} == {0.0}
    assert finish.rounds == (32, 64) and finish.tied == (0.0,) and finish.choice is None


def test_a_negative_candidate_can_win() -> None:
    finish = _race(SimulatedPair(lambda alpha: 0.5 - 0.15 * alpha, 4), grid=Grid(negative=True))
    assert finish.choice is not None and finish.choice < 0


def test_on_round_gets_all_standings() -> None:
    pair = SimulatedPair(peak, 3)
    seen: list[tuple[Standing, ...]] = []
    finish = race(RaceSettings(), pair.prompts, pair, lambda _, play: seen.append(play()))
    assert len(seen) == len(finish.rounds) and seen[-1] == finish.standings


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(InputError, match="20 prompts to choose on"):
        race(RaceSettings(), 20, SimulatedPair(peak, 1))


def test_an_objective_without_scores_is_refused() -> None:
    class Broken(SimulatedPair):
        def all_scores(self, alpha: float) -> NDArray[np.float64]:
            return np.full(self.prompts, np.nan)

    with pytest.raises(InputError, match="0 scores for 32 answers at α = 0"):
        _race(Broken(peak, 1))


def test_a_prompt_without_a_score_counts_for_nobody() -> None:
    class Patchy(SimulatedPair):
        def all_scores(self, alpha: float) -> NDArray[np.float64]:
            scores = super().all_scores(alpha).copy()
            scores[5 if alpha == 0.6 else 7] = np.nan
            return scores

    finish = _race(Patchy(peak, 3, prompts=64))
    assert all(np.isfinite(standing.gain or 0.0) for standing in finish.standings)
    assert finish.choice is not None


def test_vitals_are_shares() -> None:
    with pytest.raises(ValidationError):
        Vitals(prompts=1, unended=1.5, repeating=0, mean_characters=0)


@pytest.mark.parametrize("curve", [peak, late_peak, plateau, collapse, flat])
def test_regret_and_answers_against_the_full_grid(curve: Curve) -> None:
    """The race's best against a full grid over every candidate that it tried, with all prompts.

    Regret is what the true best of these candidates has more than the one that was picked.
    """
    regrets, full_regrets, answers, full_answers = [], [], 0, 0
    for seed in range(REPLICATES):
        pair = SimulatedPair(curve, seed)
        finish = _race(pair)
        tried = [standing.alpha for standing in finish.standings]
        full = max(tried, key=lambda alpha: pair.all_scores(alpha).mean())
        top = max(map(curve, tried))
        regrets.append(top - curve(finish.best))
        full_regrets.append(top - curve(full))
        answers, full_answers = answers + finish.answers, full_answers + len(tried) * PROMPTS
    assert np.mean(regrets) <= np.mean(full_regrets) + 0.004
    assert answers < (0.75 if curve not in (flat, plateau) else 1.0) * full_answers
