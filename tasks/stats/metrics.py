"""What was measured of an arm, and what the authors published of the pair."""

from typing import Any

from pydantic import Field

from tasks.stats.paired import FiniteValue

__all__ = ["ArmMetrics", "ArmResult", "PublishedFigures"]


class ArmMetrics(FiniteValue):
    """What was measured of one arm.

    score           win rate or accuracy in %, or a mean rating (1 to 10)
    standard_error  of the score, in its unit
    lc_win_rate     the length-controlled win rate in %, None where it is not available
    lc_standard_error   of it, by a bootstrap
    discrete_win_rate   wins and half of the draws, in %
    mean_length     characters of an answer
    truncated, repeating, empty   shares of the answers, 0 to 1
    first_turn, second_turn   of two turns: the mean rating of each turn
    categories      of rated answers: the mean rating of each category
    kinds           of instructions that a rule checks: the share in % that was followed, by their kind
    unparsed        judgments without a rating, which are in no figure
    not_judged      items without a judgment, by cause ("low mass", "timeout", "unparsed", …)
    not_answered    answers that an endpoint did not give, by cause; they count as empty ones
    median_mass     the median over the judgments of the verdict tokens' part of the likeliest tokens'
                    probability, 0 to 1; None where preferences are not read from probabilities
    """

    score: float
    standard_error: float
    mean_length: float
    lc_win_rate: float | None = None
    lc_standard_error: float | None = None
    discrete_win_rate: float | None = None
    truncated: float = 0.0
    repeating: float = 0.0
    empty: float = 0.0
    first_turn: float | None = None
    second_turn: float | None = None
    categories: dict[str, float] = Field(default_factory=dict)
    kinds: dict[str, float] = Field(default_factory=dict, exclude_if=lambda kinds: not kinds)
    unparsed: int = 0
    not_judged: dict[str, int] = Field(default_factory=dict, exclude_if=lambda counts: not counts)
    not_answered: dict[str, int] = Field(default_factory=dict, exclude_if=lambda counts: not counts)
    median_mass: float | None = Field(default=None, exclude_if=lambda mass: mass is None)


class ArmResult(FiniteValue):
    """One arm on one benchmark: its metrics, and the scores that they are the mean of.

    scores     each item's, in the unit of the verdict; None where it has no judgment
    clusters   what each item depends on with others; an item that is not in it, on none
    resampled  for each generation a bootstrap of its length-controlled score; empty where there is none
    lc_note    why there is no length-controlled score, for a benchmark that has one
    """

    metrics: ArmMetrics
    scores: dict[Any, float | None]
    clusters: dict[Any, Any] = Field(default_factory=dict)
    resampled: tuple[tuple[float, ...], ...] = ()
    lc_note: str | None = None


class PublishedFigures(FiniteValue):
    """The authors' figures (original, + ExPO), and who judged them."""

    judge: str
    score: tuple[float, float]
    lc_win_rate: tuple[float, float] | None = None

    @property
    def gain(self) -> float:
        """The published difference, in the unit of the score."""
        return self.score[1] - self.score[0]
