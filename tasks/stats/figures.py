"""What was measured of an arm, and what the authors published of the pair."""

from pydantic import Field

from tasks.core.families import Published
from tasks.stats.paired import FiniteValue

__all__ = ["ArmMetrics", "PublishedFigures", "published_figures"]

PUBLISHED_JUDGES = {"alpaca_eval": "gpt-4-1106-preview", "mt_bench": "gpt-4"}


class ArmMetrics(FiniteValue):
    """What was measured of one arm.

    score           win rate in %, or the mean MT-Bench rating (1 to 10)
    standard_error  of the score, in its unit
    lc_win_rate     the length-controlled win rate in %, None where it is not available
    lc_standard_error   of it, by a bootstrap
    discrete_win_rate   wins and half of the draws, in %
    mean_length     characters of an answer
    truncated, repeating, empty   shares of the answers, 0 to 1
    first_turn, second_turn   MT-Bench: the mean rating of each turn
    categories      MT-Bench: the mean rating of each category
    unparsed        MT-Bench: judgments without a rating, which are in no figure
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
    unparsed: int = 0


class PublishedFigures(FiniteValue):
    """The authors' figures (original, + ExPO), and who judged them."""

    judge: str
    score: tuple[float, float]
    lc_win_rate: tuple[float, float] | None = None

    @property
    def gain(self) -> float:
        """The published difference, in the unit of the score."""
        return self.score[1] - self.score[0]


def published_figures(published: Published | None, benchmark: str) -> PublishedFigures | None:
    """The authors' figures for a benchmark, None where there are none."""
    if published is None or benchmark not in PUBLISHED_JUDGES:
        return None
    judge = PUBLISHED_JUDGES[benchmark]
    if benchmark == "mt_bench":
        return PublishedFigures(judge=judge, score=published.mt_bench)
    return PublishedFigures(judge=judge, score=published.win_rate, lc_win_rate=published.lc_win_rate)
