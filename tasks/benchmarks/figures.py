"""What a benchmark's figures are: what its scores are called, and the values in which they are given."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from tasks.core.values import Value
from tasks.stats.metrics import ArmMetrics
from tasks.stats.paired import FiniteValue

__all__ = ["MIN_JUDGED", "ONE_ITEM", "UNKNOWN_CAUSE", "UNKNOWN_JUDGE", "Counts", "Judged", "Measure", "Score"]

MIN_JUDGED = 0.95  # of a file's items, for a score
UNKNOWN_JUDGE = "unknown judge"  # of a file that does not say who judged
ONE_ITEM = "not available, because there is one item"  # the standard error of a file's score
UNKNOWN_CAUSE = "cause unknown"  # of an item without a judgment in a file that does not say why


class Measure(Value):
    """What a benchmark's scores are called, and how they are written.

    title      the benchmark's name in text
    score      what a score is, in a sentence: "win rate", "rating", "accuracy"
    axis       the same where a number stands alone: "win rate, %", "mean rating"
    unit       of a difference of two scores
    digits     of a score, after the point
    metric     the metric's name on the Hub
    dataset    the benchmark's name on the Hub
    length_controlled  whether there is a length-controlled score beside the plain one
    control    what that score controls: length, or style (length and markdown)
    min_mass   of preferences that are read from probabilities: the part of the likeliest tokens'
               that the verdict tokens must have together, below which there is no judgment
    """

    title: str
    score: str
    axis: str
    unit: str = "percentage points"
    digits: int = 1
    metric: str
    dataset: str
    length_controlled: bool = False
    control: Literal["length", "style"] = "length"
    min_mass: float | None = None

    @property
    def controlled(self) -> str:
        """What the controlled score is called: "length-controlled win rate"."""
        return f"{self.control}-controlled {self.score}"


class Score(FiniteValue):
    """The figures of one file of judgments: what `expo score` prints. Figures of two judges never mix."""

    judge: str

    @abstractmethod
    def metrics(self) -> ArmMetrics:
        """The same as an arm's metrics; what the file does not have is 0 or None."""

    @property
    def resampled(self) -> tuple[float, ...]:
        """A bootstrap of the length-controlled score, empty where there is none."""
        return ()

    @property
    def note(self) -> str | None:
        """Why there is no length-controlled score, for a benchmark that has one."""
        return None


class Judged(NamedTuple):
    """An arm's answers and the judgments of them."""

    answers: Path
    judgments: Path


class Counts(NamedTuple):
    """Items of a file of judgments, how many of them have none, and how many have one that says nothing.

    causes       both kinds together, by why
    median_mass  of the judgments that were read from probabilities, see `Measure.min_mass`
    """

    n_total: int
    n_failed: int
    n_unparsed: int = 0
    causes: Mapping[str, int] = {}
    median_mass: float | None = None
