"""Two judges on the same pairs: known tables, known shifts, and what has no answer."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tasks.core.errors import InputError
from tasks.stats.agreement import Agreement, agree, agreement_sentence


def test_cohens_own_example() -> None:
    """Cohen (1960), table 1: 200 cases, three categories, kappa 0.492."""
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    scale = [0.0, 0.5, 1.0]
    cells = [(scale[i], scale[j], n) for i, row in enumerate(table) for j, n in enumerate(row)]
    before = np.repeat([cell[0] for cell in cells], [cell[2] for cell in cells])
    now = np.repeat([cell[1] for cell in cells], [cell[2] for cell in cells])
    found = agree("a", "b", before, now)
    assert found.kappa == pytest.approx(0.492, abs=5e-4)
    assert found.agreement == pytest.approx(0.70)
    assert found.kappa_lower is not None and found.kappa_upper is not None
    assert found.kappa_lower < 0.492 < found.kappa_upper


def test_the_same_judge_agrees_with_itself() -> None:
    shares = np.random.default_rng(0).random(50)
    found = agree("a", "a", shares, shares)
    assert (found.agreement, found.kappa, found.shift.mean) == (1, 1, 0)
    assert found.rank_correlation == pytest.approx(1)
    assert not found.drifted and "no evidence of a shift" in agreement_sentence(found)


def test_a_judge_by_chance_agrees_no_more_than_chance() -> None:
    rng = np.random.default_rng(1)
    found = agree("a", "b", rng.random(2000), rng.random(2000))
    assert abs(found.kappa or 1) < 0.06 and abs(found.rank_correlation or 1) < 0.06
    assert 0.45 < found.agreement < 0.55


def test_a_milder_judge_has_drifted_though_it_ranks_alike() -> None:
    before = np.random.default_rng(2).random(200)
    found = agree("a", "b", before, before**0.5)
    assert found.rank_correlation == pytest.approx(1)
    assert found.drifted and found.shift.mean == pytest.approx(16.7, abs=1.5)
    assert "are not alike" in agreement_sentence(found)


def test_a_judge_that_always_says_the_same_has_no_kappa() -> None:
    found = agree("a", "b", [1.0] * 4, [1.0] * 4, n_failed=3)
    assert (found.kappa, found.kappa_lower, found.rank_correlation) == (None, None, None)
    assert found.agreement == 1 and found.n_failed == 3
    assert "kappa not available" in agreement_sentence(found)
    assert Agreement.model_validate(json.loads(found.model_dump_json())) == found


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [([1.0], [1.0], "at least two"), ([1.0, 0.0], [1.0], "the same items"), ([2.0, 1.0], [1, 1], "0 to 1")],
)
def test_no_figure_of_what_cannot_be_compared(before: list[float], now: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        agree("a", "b", before, now)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30))
def test_kappa_is_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    before, now = zip(*pairs, strict=True)
    chosen = [np.sign(np.array(side) - 0.5) for side in (before, now)]
    found = agree("a", "b", before, now)
    if np.unique(chosen).size == 1:  # scikit-learn says nan, with a warning
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(*chosen), abs=1e-9)
