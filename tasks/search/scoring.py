"""What scores the answers of a search, whatever it is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tasks.benchmarks.budget import Usage

__all__ = ["Answered", "Objective"]


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
