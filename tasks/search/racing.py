"""The race: candidates answer the same prompts in rounds that double, and those that trail drop out.

Racing with paired differences is Moore and Lee's ("Efficient algorithms for minimizing
cross-validation error", ICML 1994, section 4: what all candidates share, the difficulty of a prompt,
cancels). Rounds that double are successive halving's (Jamieson and Talwalkar, arXiv 1502.07943);
here the number that remains is decided by the data. A candidate drops out when it trails the
best by more than two standard errors of the paired difference (arXiv 2411.00640, section 4.2).

A race asks an `Evaluator` for what it needs, always in the same order. So one that is
interrupted is run again from the start, over an evaluator that keeps what it has measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from tasks.core.errors import InputError
from tasks.core.values import Value
from tasks.search.candidates import Grid, extension, first_candidates, refinement
from tasks.search.rails import RailLimits, RailReading, Vitals, broken, read_rails
from tasks.search.scoring import FloatArray, checked_scores

__all__ = [
    "Evaluator",
    "Fate",
    "Finish",
    "Play",
    "PlayRound",
    "RaceSettings",
    "Standing",
    "finish_after",
    "race",
]

Fate = Literal["tied with the best", "trails the best", "broke a rail", "above a broken rail"]


class RaceSettings(Value):
    """How a race is run.

    grid             the candidates
    limits           the rails: a candidate that breaks one is out
    first_round      prompts of the first round; each further round doubles the prompts
    standard_errors  of the paired difference, by which a candidate may trail the best
    """

    grid: Grid = Grid()
    limits: RailLimits = RailLimits()
    first_round: int = Field(default=32, ge=8)
    standard_errors: float = Field(default=2.0, gt=0)


class Evaluator(Protocol):
    """What measures candidates on the first `prompts` prompts; asked for α = 0 first in each round."""

    def vitals(self, alpha: float, prompts: int) -> Vitals:
        """Of the candidate's answers."""

    def scores(self, alpha: float, prompts: int) -> Sequence[float]:
        """One score for each prompt, higher is better, NaN where there is none; asked if the rails hold."""


class Standing(Value):
    """Where a candidate ended.

    prompts         answered when its fate was decided
    score           its mean over them, None if it was never scored
    gain            over α = 0 on the same prompts, with the paired standard error
    vitals, rails   at its last round
    broken          the rails that it broke
    """

    alpha: float
    fate: Fate
    prompts: int
    score: float | None
    gain: float | None
    standard_error: float | None
    vitals: Vitals | None = None
    rails: tuple[RailReading, ...] = ()
    broken: tuple[str, ...] = ()


Play = Callable[[], tuple[Standing, ...]]
PlayRound = Callable[[int, Play], object]


class Finish(Value):
    """The race's end.

    best       the α with the highest mean score
    tied       those that cannot be distinguished from it, rising
    standings  of every candidate, rising
    rounds     the number of prompts after each round
    answers    made for the race in all
    """

    best: float
    tied: tuple[float, ...]
    standings: tuple[Standing, ...]
    rounds: tuple[int, ...]
    answers: int

    @property
    def choice(self) -> float | None:
        """The tied α nearest to zero; None where α = 0 is one of them, so that nothing was shown to help."""
        smallest = min(self.tied, key=lambda alpha: (abs(alpha), alpha < 0))
        return smallest or None


@dataclass
class _Candidate:
    alpha: float
    scores: FloatArray = field(default_factory=lambda: np.empty(0))
    answered: int = 0
    vitals: Vitals | None = None
    rails: tuple[RailReading, ...] = ()
    fate: Fate | None = None

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.scores))


def race(
    settings: RaceSettings,
    prompts: int,
    evaluator: Evaluator,
    play_round: PlayRound = lambda _, play: play(),
) -> Finish:
    """Runs the race over at most `prompts` prompts.

    Args:
        play_round: plays a round by its second argument, which returns all standings after it; the first is
            the number of prompts.

    Raises:
        InputError: there are fewer prompts than the first round has.
    """
    if prompts < settings.first_round:
        raise InputError(
            f"{prompts} prompts to choose on, fewer than the first round's {settings.first_round}; "
            "give more prompts, or a smaller first round"
        )
    entrants = _Entrants(settings, evaluator)
    rounds: list[int] = []
    count = settings.first_round

    def play() -> tuple[Standing, ...]:
        entrants.measure(count)
        early = count == settings.first_round < prompts
        while entrants.grow(refine=not early or len(entrants.running) == 1):
            entrants.measure(count)
        return entrants.standings()

    while True:
        play_round(count, play)
        rounds.append(count)
        if count == prompts or len(entrants.running) == 1:
            break
        count = min(2 * count, prompts)
    return finish_after(entrants.standings(), rounds[:-1])


def finish_after(standings: Sequence[Standing], before: Sequence[int]) -> Finish:
    """The race as it is after a round.

    Args:
        standings: of every candidate, rising.
        before: the number of prompts after each earlier round.
    """
    running = [standing for standing in standings if standing.fate == "tied with the best"]
    best = max(running, key=lambda standing: (standing.score or 0.0, -abs(standing.alpha)))
    return Finish(
        best=best.alpha,
        tied=tuple(standing.alpha for standing in running),
        standings=tuple(standings),
        rounds=(*before, max(standing.prompts for standing in running)),
        answers=sum(standing.prompts for standing in standings),
    )


class _Entrants:
    """All candidates of a race. α = 0 answers every round, as what the others are compared with."""

    def __init__(self, settings: RaceSettings, evaluator: Evaluator) -> None:
        self._settings, self._evaluator = settings, evaluator
        self.candidates = {alpha: _Candidate(alpha) for alpha in first_candidates(settings.grid)}
        self._baseline = self.candidates[0.0]
        self._ceiling = {1: math.inf, -1: math.inf}  # of |α|, for each sign: where a rail broke
        self._refined = False

    @property
    def running(self) -> list[_Candidate]:
        """Those that may still be the best, rising."""
        in_order = (self.candidates[alpha] for alpha in sorted(self.candidates))
        return [candidate for candidate in in_order if candidate.fate is None]

    @property
    def best(self) -> _Candidate:
        return max(self.running, key=lambda candidate: (candidate.mean, -abs(candidate.alpha)))

    def measure(self, count: int) -> None:
        """Brings every running candidate to `count` prompts, then drops those that trail."""
        baseline = self._evaluator.vitals(0.0, count)
        for alpha in sorted({0.0, *(candidate.alpha for candidate in self.running)}, key=abs):
            self._measure(self.candidates[alpha], count, baseline)
        if not self.running:  # all broke a rail, and α = 0 had dropped out: it is what remains
            self._baseline.fate = None
        best = self.best
        for candidate in self.running:
            mean, error = _paired(best.scores, candidate.scores)
            if mean > self._settings.standard_errors * error:
                candidate.fate = "trails the best"

    def grow(self, *, refine: bool) -> bool:
        """Adds candidates where the best so far asks for them; whether there are any new."""
        best, tried = self.best.alpha, list(self.candidates)
        new: tuple[float, ...] = ()
        above = extension(self._settings.grid, best) if best == max(tried) else None
        if above is not None:
            new = (above,)
        elif refine and best and not self._refined:
            new = refinement(self._settings.grid, best, tried)
            self._refined = True
        self.candidates |= {alpha: _Candidate(alpha) for alpha in new}
        return bool(new)

    def standings(self) -> tuple[Standing, ...]:
        return tuple(self._standing(self.candidates[alpha]) for alpha in sorted(self.candidates))

    def _measure(self, candidate: _Candidate, count: int, baseline: Vitals) -> None:
        side = -1 if candidate.alpha < 0 else 1
        if abs(candidate.alpha) > self._ceiling[side]:
            candidate.fate = "above a broken rail"
            return
        vitals = self._evaluator.vitals(candidate.alpha, count)
        candidate.answered, candidate.vitals = count, vitals
        candidate.rails = read_rails(vitals, baseline, self._settings.limits)
        if candidate is not self._baseline and broken(candidate.rails):
            candidate.fate = "broke a rail"
            self._ceiling[side] = abs(candidate.alpha)
            return
        scores = self._evaluator.scores(candidate.alpha, count)
        candidate.scores = checked_scores(scores, count, candidate.alpha)

    def _standing(self, candidate: _Candidate) -> Standing:
        scored = len(candidate.scores)
        gain, error = _paired(candidate.scores, self._baseline.scores[:scored]) if scored else (None, None)
        return Standing(
            alpha=candidate.alpha,
            fate=candidate.fate or "tied with the best",
            prompts=candidate.answered,
            score=candidate.mean if scored else None,
            gain=gain,
            standard_error=error,
            vitals=candidate.vitals,
            rails=candidate.rails,
            broken=broken(candidate.rails) if candidate is not self._baseline else (),
        )


def _paired(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """The mean of first − second and its standard error."""
    difference = first - second
    difference = difference[np.isfinite(difference)]  # prompts that both have a score of
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))
