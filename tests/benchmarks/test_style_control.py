"""Style control: against an oracle of its own, where it has no estimate, and its resamples."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from tasks.benchmarks.pairwise_score import score_pairs
from tasks.benchmarks.style_control import (
    MIN_PROMPTS,
    Battles,
    NoEstimateError,
    controlled_share,
    features,
    resampled_shares,
)


def test_style_control_is_a_logistic_regression_at_equal_style() -> None:
    """Against Newton's method on the same likelihood, written out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    won = rng.integers(0, 5, 200).astype(float)
    battles = [Battles(row, count, 4 - count) for row, count in zip(x, won, strict=True)]
    design = np.hstack([np.ones((200, 1)), x])
    beta = np.zeros(5)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient, hessian = design.T @ (won - 4 * p), (design * (4 * p * (1 - p))[:, None]).T @ design
        beta += np.linalg.solve(hessian, gradient)
    assert controlled_share(battles) == pytest.approx(1 / (1 + math.exp(-beta[0])), abs=1e-4)
    assert controlled_share([Battles(features((9, 1, 0, 0), (9, 0, 0, 0)), 3, 1)] * 5) == 0.75
    assert controlled_share([Battles(features((0, 0, 0, 0), (0, 0, 0, 0)), 6, 0)] * 5) == 1


def test_style_control_takes_out_what_length_explains() -> None:
    """A judge that likes length and nothing else: uncontrolled 100%, controlled a draw."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 150, (400, 2)) + np.array([40, 0])
    battles = []
    for model, baseline in lengths.tolist():
        found = features((model, 0, 0, 0), (baseline, 0, 0, 0))
        p = 1 / (1 + math.exp(-8 * found[0]))
        battles.append(Battles(found, p, 1 - p))
    assert fmean(battle.won for battle in battles) > 0.7
    assert controlled_share(battles) == pytest.approx(0.5, abs=0.01)


def drawn_battles(count: int, seed: int) -> list[Battles]:
    rng = np.random.default_rng(seed)
    won = rng.integers(0, 5, count).astype(float)
    return [Battles(row, part, 4 - part) for row, part in zip(rng.normal(size=(count, 4)), won, strict=True)]


def test_a_spread_of_rounding_is_no_style() -> None:
    """All answers differ alike in length: the last digit of that is nothing to control for."""
    battles = [
        Battles(
            np.array([0.1 + 1e-17 * at if at % 2 else 0.1 + 2e-16, 0, 0, 0]),
            float(at % 3 > 0),
            float(at % 3 == 0),
        )
        for at in range(60)
    ]
    assert controlled_share(battles) == pytest.approx(2 / 3)


@pytest.mark.parametrize("won", [lambda x: x[0] > 0, lambda _: True, lambda x: x[1] > 1 or x[0] > 0])
def test_there_is_no_estimate_where_style_separates(won: Callable[[Any], bool]) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2))
    battles = [Battles(row, float(won(row)), float(not won(row))) for row in rows if abs(row[0]) < 9]
    if won([-1, 2]) and not won([-1, 0]):  # two half planes: no single one separates
        assert 0 < controlled_share(battles) < 1
        return
    with pytest.raises(NoEstimateError, match="style alone tells"):
        controlled_share(battles)


def test_resamples_are_paired_whatever_the_order_of_the_categories() -> None:
    groups = {
        name: {str(at): battle for at, battle in enumerate(drawn_battles(60, seed))}
        for seed, name in enumerate("ba")
    }
    forth = resampled_shares(groups, 5)
    back = resampled_shares({name: groups[name] for name in "ab"}, 5)
    assert [draw[::-1] for draw in back] == list(forth)


def test_a_category_of_a_few_prompts_has_no_style_control(tmp_path: Path) -> None:
    labels, path = ("A>B", "A=B", "B>A"), tmp_path / "pairs.jsonl"

    def note_of(count: int) -> str:
        rows = [
            {"uid": str(at), "category": "b", "judge": "j", "model": "m", "baseline": "o", "characters": at}
            | {"games": [{"score": labels[at % 3]}, {"score": labels[at // 3 % 3]}]}
            | {"style": {"model": [50 + 7 * at % 40, at % 2, 0, 0], "baseline": [60, 0, 0, 0]}}
            for at in range(count)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        score = score_pairs(path)
        assert (score.style_controlled is None) == bool(score.style_note) == (not score.resampled)
        return score.style_note

    assert note_of(MIN_PROMPTS) == ""
    assert "category 'b' has 49 judged prompts, and a fit needs 50" in note_of(MIN_PROMPTS - 1)
