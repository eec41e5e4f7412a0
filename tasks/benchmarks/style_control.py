"""Style control of a score: how often the judge would prefer the model if both answers had one style.

The features are Arena-Hard's (`utils/add_markdown_info.py` and `show_result.py` at 196f6b82): length, and
headers, lists and bold passages by length, each as a normalized difference of the two answers. The fit is
its Bradley-Terry model, a logistic regression on the battles without a penalty: it has an estimate only
where style does not tell the battles' outcomes apart, and a good one only with more than a few prompts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Battles",
    "NoEstimateError",
    "controlled_share",
    "features",
    "require_enough",
    "resampled_shares",
    "style_of",
]

Style = Sequence[int]
FloatArray = NDArray[np.float64]

RESAMPLES = 100  # as published
MIN_PROMPTS = 50  # of a category: ten for each of the five coefficients
MIN_SPREAD = 1e-9  # of a feature; below is rounding
SEPARATED = 1e-3  # of the linear program's objective: 0 where nothing separates, up to its tolerances
CHARACTERS_PER_TOKEN = 4
CODE = re.compile("```([^`]*)```")
HEADERS = re.compile(r"^#{1,6}\s", re.MULTILINE)
LISTS = (re.compile(r"^\s*\d+\.\s", re.MULTILINE), re.compile(r"^\s*[-*+]\s", re.MULTILINE))
BOLD = (re.compile(r"\*\*[^*\n]+\*\*"), re.compile(r"__[^_\n]+__"))


class NoEstimateError(ValueError):
    """Style control has no estimate for these battles."""


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
        NoEstimateError: style tells all battles' outcomes apart, or there is one outcome only.
        ValueError: scikit-learn's, of features that its model cannot take.
    """
    from sklearn.linear_model import LogisticRegression

    x_NF = np.stack([battle.features for battle in battles])
    won, lost = (np.array([getattr(battle, name) for battle in battles]) for name in ("won", "lost"))
    spread = x_NF.std(axis=0)
    varies = spread > MIN_SPREAD
    if not varies.any():
        return float(won.sum() / (won.sum() + lost.sum()))
    x_NF = x_NF[:, varies] / spread[varies]
    weights = np.concatenate([won, lost])
    fought = weights > 0
    x_BF, outcomes_B = np.vstack([x_NF, x_NF])[fought], np.repeat([1, 0], len(battles))[fought]
    if _separates(x_BF, outcomes_B):
        raise NoEstimateError("style alone tells the won battles from the lost ones")
    fit = LogisticRegression(C=np.inf, max_iter=1000).fit(x_BF, outcomes_B, sample_weight=weights[fought])
    return float(1 / (1 + np.exp(-fit.intercept_[0])))


def require_enough(battles: Mapping[str, Mapping[str, Battles]]) -> None:
    """Refuses categories of a few prompts.

    Raises:
        NoEstimateError: a category has fewer than fifty prompts.
    """
    for name, of_category in battles.items():
        if len(of_category) < MIN_PROMPTS:
            raise NoEstimateError(
                f"category {name[:40]!r} has {len(of_category)} judged prompts, and a fit needs {MIN_PROMPTS}"
            )


def _separates(x_BF: FloatArray, outcomes_B: NDArray[np.int64]) -> bool:
    """Whether a plane has all won battles on one side and all lost ones on the other, or on it.

    Then the likelihood has no maximum: the coefficients grow without end (Albert and Anderson, 1984). A
    linear program finds the plane (Konis, 2007).
    """
    from scipy.optimize import linprog

    signed = np.where(outcomes_B == 1, 1.0, -1.0)[:, None] * np.hstack([np.ones((len(x_BF), 1)), x_BF])
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    return bool(found.status != 0 or -found.fun > SEPARATED)


def resampled_shares(
    battles: Mapping[str, Mapping[str, Battles]], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[float, ...], ...]:
    """The share of each category in each resample of its prompts, by position in `battles`.

    battles  by category and prompt. Prompts are drawn in the order of the categories' and their own names:
             for two files of the same prompts, in whatever order, the same are drawn.

    Raises:
        NoEstimateError, ValueError: as `controlled_share`, of a resample.
    """
    generator = np.random.default_rng(seed)
    shares = []
    for _ in range(resamples):
        resample = {}
        for category in sorted(battles):
            names = sorted(battles[category])
            draw = generator.integers(0, len(names), len(names))
            resample[category] = controlled_share([battles[category][names[index]] for index in draw])
        shares.append(tuple(resample[category] for category in battles))
    return tuple(shares)
