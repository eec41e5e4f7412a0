"""What a search found: one frozen value, and its sentence."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tasks.core.values import Value
from tasks.search.racing import Finish, Standing
from tasks.search.rails import RailReading
from tasks.stats.paired import PairedDifference, paired_difference

__all__ = ["ByModule", "Confirmation", "SearchCosts", "SearchResult", "confirm", "decide", "describe"]

Reason = Literal[
    "confirmed",
    "not better than α = 0",
    "not confirmed",
    "broke a rail on fresh prompts",
    "stopped by a limit",
]


class Confirmation(Value):
    """The choice against α = 0 on prompts that the race never asked.

    difference   scores of the choice minus those of α = 0
    second       the same by the second objective, which decides nothing
    """

    alpha: float
    difference: PairedDifference
    rails: tuple[RailReading, ...]
    second: PairedDifference | None = None

    @property
    def holds(self) -> bool:
        """Whether the 95% interval is above zero and every rail holds."""
        return self.difference.lower > 0 and all(reading.holds for reading in self.rails)


class ByModule(Value):
    """What steps over modules ended with: exploratory, and nothing was chosen by it.

    alpha       that was found for all modules
    multiples   of it, by module
    tried       candidates in all
    difference  scores minus those of the same α everywhere, on the confirming prompts; None where all
                multiples are 1
    """

    alpha: float
    multiples: dict[str, float]
    tried: int = Field(ge=0)
    difference: PairedDifference | None = None


class SearchCosts(Value):
    """What a search used, over all its restarts.

    answers, answer_tokens  of all candidates, in both halves
    seconds                 spent answering
    judge_requests, judge_tokens, dollars   of the objective, where it is a judge
    """

    answers: int = Field(ge=0)
    answer_tokens: int = Field(ge=0)
    seconds: float = Field(ge=0)
    judge_requests: int = Field(default=0, ge=0)
    judge_tokens: int = Field(default=0, ge=0)
    dollars: float | None = None


class SearchResult(Value):
    """A finished search, or what one had found when a limit stopped it.

    aligned, sft   the pair, each as uri@commit
    objective      what scored, in words; judged: whether that is a judge, whose gain is a share of wins
    alpha          the choice; None: no α was shown to be better than the aligned model
    reason         why it is that
    tied           candidates that cannot be distinguished from the best, rising
    standings      every candidate, rising: the curve with its rails
    rounds         prompts after each round of the race
    confirmation   None where the race found nothing to confirm
    engine         name and version of what answered, and how θ(α) got into it
    fingerprint    of everything that decided the result
    stopped        which limit ended it early, "" where none did
    by_module      what modules want of the choice, where that was asked
    preset         the shape of which α is the scale, "" for the same α everywhere
    """

    aligned: str
    sft: str
    objective: str
    judged: bool
    alpha: float | None
    reason: Reason
    best: float
    tied: tuple[float, ...]
    standings: tuple[Standing, ...]
    rounds: tuple[int, ...]
    confirmation: Confirmation | None
    costs: SearchCosts
    engine: str
    fingerprint: str
    stopped: str = Field(default="", exclude_if=lambda stopped: not stopped)
    preset: str = Field(default="", exclude_if=lambda preset: not preset)
    by_module: ByModule | None = Field(default=None, exclude_if=lambda found: found is None)


def confirm(
    alpha: float,
    scores: Sequence[float],
    baseline_scores: Sequence[float],
    rails: tuple[RailReading, ...],
    second: PairedDifference | None = None,
) -> Confirmation:
    """Compares the race's choice with α = 0 on the confirming prompts, score by score.

    Raises:
        InputError: the scores are not paired, not finite, or fewer than two.
    """
    difference = paired_difference(baseline_scores, scores)
    return Confirmation(alpha=alpha, difference=difference, rails=rails, second=second)


def decide(
    finish: Finish, confirmation: Confirmation | None, *, stopped: bool = False
) -> tuple[float | None, Reason]:
    """The choice and why: α has to win the race and hold on fresh prompts, else it is None."""
    if stopped:
        return None, "stopped by a limit"
    if finish.choice is None or confirmation is None:
        return None, "not better than α = 0"
    if not all(reading.holds for reading in confirmation.rails):
        return None, "broke a rail on fresh prompts"
    return (finish.choice, "confirmed") if confirmation.holds else (None, "not confirmed")


def describe(result: SearchResult) -> str:
    """The result in a sentence or two."""
    if result.stopped:
        return _describe_stop(result)
    tied = ", ".join(f"{alpha:g}" for alpha in result.tied)
    found = result.confirmation
    if found is None:
        return f"No α: α = 0 cannot be distinguished from the best ({result.best:g}). Tied: {tied}."
    interval = f"{found.difference.lower:+.3g} to {found.difference.upper:+.3g}"
    gain = f"{found.difference.mean:+.3g} over α = 0 on {found.difference.n} fresh prompts, 95% {interval}"
    if result.alpha is not None:
        shape = f", in the shape {result.preset}" if result.preset else ""
        chosen = f"α = {result.alpha:g}{shape}: {gain}."
        return f"{chosen} It is the smallest of those that cannot be distinguished: {tied}."
    return f"No α: the race's choice {found.alpha:g} was {result.reason} ({gain})."


def _describe_stop(result: SearchResult) -> str:
    so_far = "no round was complete"
    if result.rounds:
        tied = ", ".join(f"{alpha:g}" for alpha in result.tied)
        so_far = (
            f"after {result.rounds[-1]} prompts α {tied} cannot be distinguished from the best "
            f"({result.best:g})"
        )
    return (
        f"No α yet: {result.stopped}. So far {so_far}, and nothing is confirmed. "
        "What was answered and judged is kept: the same search goes on from here."
    )
