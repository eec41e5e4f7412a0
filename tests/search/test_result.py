"""From a race and its confirmation to a choice, or to none."""

import pytest

from tasks.search.racing import Finish, RaceSettings, race
from tasks.search.rails import RailReading
from tasks.search.result import Confirmation, SearchCosts, SearchResult, confirm, decide, describe
from tests.search.simulated import Curve, SimulatedPair, collapse, flat, late_peak, peak

CHOOSING, CONFIRMING = 200, 200
BROKEN = RailReading(rail="length ratio", value=3.0, limit="0.5 to 2", holds=False)


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.stats.paired.RESAMPLES", 1000)


def _search(curve: Curve, seed: int) -> tuple[Finish, Confirmation | None]:
    """A race on the first prompts, and its confirmation on the others."""
    pair = SimulatedPair(curve, seed, prompts=CHOOSING + CONFIRMING)
    finish = race(RaceSettings(), CHOOSING, pair)
    if finish.choice is None:
        return finish, None
    scores = pair.all_scores(finish.choice)[CHOOSING:]
    return finish, confirm(finish.choice, [*scores], [*pair.all_scores(0.0)[CHOOSING:]], ())


@pytest.mark.slow
def test_a_null_pair_yields_none_at_least_95_times_in_100() -> None:
    """The race alone is wrong more often (it looks at many α many times): fresh prompts are what holds it."""
    found = [_search(flat, seed) for seed in range(120)]
    chosen = sum(decide(*search)[0] is not None for search in found)
    assert chosen <= 0.05 * len(found)
    assert any(confirmation for _, confirmation in found), "otherwise nothing was tested"


@pytest.mark.parametrize("curve", [peak, late_peak])
def test_a_pair_that_gains_gets_an_alpha(curve: Curve) -> None:
    found = [_search(curve, seed) for seed in range(20)]
    chosen = [decide(*search)[0] for search in found]
    assert sum(alpha is not None for alpha in chosen) >= 18
    assert all(curve(alpha) > curve(0.0) for alpha in chosen if alpha is not None)


def test_a_pair_that_every_step_hurts_gets_none() -> None:
    assert all(decide(*_search(collapse, seed)) == (None, "not better than α = 0") for seed in range(20))


def test_a_rail_that_breaks_on_fresh_prompts_takes_the_choice_back() -> None:
    finish, confirmation = _search(peak, 1)
    assert confirmation is not None and confirmation.holds
    broken = confirmation.model_copy(update={"rails": (BROKEN,)})
    assert not broken.holds
    assert decide(finish, broken) == (None, "broke a rail on fresh prompts")


def test_the_sentence_names_the_choice_its_interval_and_the_tied() -> None:
    finish, confirmation = _search(peak, 1)
    assert confirmation is not None
    alpha, reason = decide(finish, confirmation)
    result = SearchResult(
        aligned="B@1", sft="A@1", objective="rule", judged=False, alpha=alpha, reason=reason,
        best=finish.best,
        tied=finish.tied, standings=finish.standings, rounds=finish.rounds, confirmation=confirmation,
        costs=SearchCosts(answers=1, answer_tokens=1, seconds=1), engine="simulated", fingerprint="f",
    )  # fmt: skip
    assert describe(result).startswith(f"α = {alpha:g}: +")
    assert f"{finish.tied[-1]:g}" in describe(result)
    none = result.model_copy(update={"alpha": None, "confirmation": None, "reason": "not better than α = 0"})
    assert describe(none).startswith("No α: α = 0 cannot be distinguished from the best")
    taken = result.model_copy(update={"alpha": None, "reason": "not confirmed"})
    assert "was not confirmed" in describe(taken)
    assert SearchResult.model_validate_json(result.model_dump_json()) == result
