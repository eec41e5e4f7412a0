"""The grid of candidates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.search.candidates import Grid, extension, first_candidates, most_candidates, refinement


def test_default_grid_is_log_spaced_and_holds_zero() -> None:
    assert first_candidates(Grid()) == (0.0, 0.1, 0.18, 0.33, 0.6, 1.1, 2.0)


def test_negative_candidates_stay_between_the_two_checkpoints() -> None:
    found = first_candidates(Grid(negative=True))
    assert [alpha for alpha in found if alpha < 0] == [-0.6, -0.33, -0.18, -0.1]


def test_extension_keeps_the_ratio_and_ends_at_the_limit() -> None:
    grid, alphas = Grid(limit=16), [2.0]
    while (above := extension(grid, alphas[-1])) is not None:
        alphas.append(above)
    assert alphas == [2.0, 3.6, 6.6, 12.0]


def test_at_most_all_extensions_and_both_refinements_compete() -> None:
    assert most_candidates(Grid(limit=16)) == 7 + 3 + 2


def test_refinement_lies_between_the_best_and_its_neighbors() -> None:
    tried = first_candidates(Grid())
    assert refinement(Grid(), 0.6, tried) == (0.44, 0.81)
    assert refinement(Grid(), 0.1, tried) == (0.074, 0.13)
    assert refinement(Grid(negative=True), -0.1, [-0.18, -0.1, 0.0, 0.1]) == (-0.074, -0.13)
    assert refinement(Grid(), 0.0, tried) == ()


@pytest.mark.parametrize("wrong", [{"lowest": 3.0}, {"highest": 64.0}, {"lowest": 0.0}, {"count": 1}])
def test_grids_that_do_not_rise_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"lowest|greater"):
        Grid.model_validate(wrong)


@given(
    lowest=st.floats(0.01, 1), factor=st.floats(1.5, 1000), count=st.integers(2, 12), negative=st.booleans()
)
def test_candidates_are_distinct_rising_and_within_the_grid(
    lowest: float, factor: float, count: int, negative: bool
) -> None:
    grid = Grid(lowest=lowest, highest=lowest * factor, count=count, negative=negative, limit=2000)
    found = first_candidates(grid)
    assert list(found) == sorted(set(found)) and 0.0 in found
    assert all(abs(alpha) <= grid.highest * 1.05 and alpha > -1.001 for alpha in found)
