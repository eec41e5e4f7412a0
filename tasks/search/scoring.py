"""What scores the answers of a search, whatever it is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.benchmarks.budget import Usage
from tasks.core.errors import InputError

__all__ = ["Answered", "FloatArray", "Objective", "checked_scores"]

MAX_MISSING = 0.05  # share of answers that an objective may leave without a score
FloatArray = NDArray[np.float64]


class Answered(NamedTuple):
    """A candidate's answers beside those of α = 0, by prompt."""

    prompts: Sequence[str]
    candidate: Sequence[str]
    baseline: Sequence[str]


class Objective(Protocol):
    """Scores answers; NaN where an answer has no score, as when a judge gave none."""

    def scores(self, alpha: float, answered: Answered) -> list[float]:
        """One score for each prompt."""

    def usage(self) -> Usage:
        """What was asked of a judge so far, over all tries."""


def checked_scores(scores: Sequence[float], answers: int, alpha: float) -> FloatArray:
    """The scores of so many answers at an α, float64, shape (answers,); NaN where there is none.

    Raises:
        InputError: too many are missing, or one is infinite.
    """
    found = np.asarray(scores, np.float64)
    missing = int(np.isnan(found).sum())
    if found.shape != (answers,) or np.isinf(found).any() or missing > MAX_MISSING * answers:
        raise InputError(
            f"the objective gave {found.size - missing} scores for {answers} answers at α = {alpha:g}, "
            f"or one that is infinite; it has to score {1 - MAX_MISSING:.0%} of them"
        )
    return found
