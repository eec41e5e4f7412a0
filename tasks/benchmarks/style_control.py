"""Style control of a score: how often the judge would prefer the model if both answers had one style.

The features are Arena-Hard's (`utils/add_markdown_info.py` and `show_result.py` at 196f6b82): length, and
headers, lists and bold passages by length, each as a normalized difference of the two answers. The fit is
its Bradley-Terry model, a logistic regression on the battles.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Battles", "controlled_share", "features", "resampled_shares", "style_of"]

Style = Sequence[int]
FloatArray = NDArray[np.float64]

RESAMPLES = 100  # as published
CHARACTERS_PER_TOKEN = 4
CODE = re.compile("```([^`]*)```")
HEADERS = re.compile(r"^#{1,6}\s", re.MULTILINE)
LISTS = (re.compile(r"^\s*\d+\.\s", re.MULTILINE), re.compile(r"^\s*[-*+]\s", re.MULTILINE))
BOLD = (re.compile(r"\*\*[^*\n]+\*\*"), re.compile(r"__[^_\n]+__"))


class Battles(NamedTuple):
    """The battles of one prompt: its style features, and how many the model won and lost (draws half)."""

    features: FloatArray
    won: float
    lost: float


def style_of(answer: str) -> tuple[int, int, int, int]:
    """Length in tokens of four characters; headers, list items and bold passages outside of code.

    Arena-Hard counts tokens of gpt-4o's tokenizer, which is a download; a length is only ever compared
    with another by the same measure.
    """
    plain = CODE.sub("", answer)
    return (
        -(-len(answer) // CHARACTERS_PER_TOKEN),
        len(HEADERS.findall(plain)),
        sum(len(pattern.findall(plain)) for pattern in LISTS),
        sum(len(pattern.findall(plain)) for pattern in BOLD),
    )


def features(model: Style, baseline: Style) -> FloatArray:
    """Shape (4,): differences of length, and of headers, lists and bold passages for each token."""
    ours, other = np.asarray(model, np.float64), np.asarray(baseline, np.float64)
    length = (ours[0] - other[0]) / max(ours[0] + other[0], 1)
    density, density_of_other = ours[1:] / (ours[0] + 1), other[1:] / (other[0] + 1)
    markdown = (density - density_of_other) / (density + density_of_other + 1)
    found: FloatArray = np.concatenate([[length], markdown])
    return found


def controlled_share(battles: Sequence[Battles]) -> float:
    """The model's share of the battles, 0 to 1, where both answers have the same length and markdown.

    The features are divided by their spread and not centered: with one model against one baseline their
    mean is the model's own style, and centered they would control for nothing. Arena-Hard centers them
    over all models of its leaderboard.

    Raises:
        ValueError: scikit-learn's, of features that its model cannot take.
    """
    from sklearn.linear_model import LogisticRegression

    x_NF = np.stack([battle.features for battle in battles])
    won, lost = (np.array([getattr(battle, name) for battle in battles]) for name in ("won", "lost"))
    if not won.any() or not lost.any():
        return float(won.any())
    spread = x_NF.std(axis=0)
    x_NF = x_NF[:, spread > 0] / spread[spread > 0]
    if not x_NF.shape[1]:
        return float(won.sum() / (won.sum() + lost.sum()))
    outcomes = np.repeat([1, 0], len(battles))
    weights = np.concatenate([won, lost])
    fit = LogisticRegression(C=np.inf, max_iter=1000).fit(
        np.vstack([x_NF, x_NF])[weights > 0], outcomes[weights > 0], sample_weight=weights[weights > 0]
    )
    return float(1 / (1 + np.exp(-fit.intercept_[0])))


def resampled_shares(
    battles: Mapping[str, Mapping[str, Battles]], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[float, ...], ...]:
    """The share of each category in each resample of its prompts, by position in `battles`.

    battles  by category and prompt. Prompts are drawn in the order of their names: for two files of the
             same prompts the same are drawn.
    """
    generator = np.random.default_rng(seed)
    shares = []
    for _ in range(resamples):
        resample = []
        for of_category in battles.values():
            names = sorted(of_category)
            draw = generator.integers(0, len(names), len(names))
            resample.append(controlled_share([of_category[names[index]] for index in draw]))
        shares.append(tuple(resample))
    return tuple(shares)
