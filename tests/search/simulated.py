"""Pairs whose truth is known: a curve of expected scores, on which candidates are drawn and raced."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.search.racing import Evaluator
from tasks.search.rails import Vitals

__all__ = ["Curve", "SimulatedPair", "collapse", "flat", "late_peak", "peak", "plateau"]

Curve = Callable[[float], float]


def peak(alpha: float) -> float:
    """Best near 0.6, worse than nothing from 2 on."""
    return 0.5 + 0.12 * math.exp(-(math.log(max(alpha, 1e-3) / 0.6) ** 2) / 1.2) - 0.08 * max(alpha - 1.4, 0)


def late_peak(alpha: float) -> float:
    """A pair that was trained in part: best near 10."""
    return 0.5 + 0.2 * math.exp(-(math.log(max(alpha, 1e-3) / 10) ** 2) / 3)


def plateau(alpha: float) -> float:
    """As good from 0.3 on as anywhere."""
    return 0.5 + 0.1 * min(max(alpha, 0) / 0.3, 1)


def flat(_alpha: float) -> float:
    """A pair that no α changes."""
    return 0.5


def collapse(alpha: float) -> float:
    """Every step hurts."""
    return 0.5 - 0.2 * min(abs(alpha), 2)


@dataclass
class SimulatedPair(Evaluator):
    """Scores around a curve.

    spread    of a prompt's difficulty, which all candidates share
    noise     of a single answer's score
    gamed_from  α from which the objective is fooled (it scores 1) while the answers have no end
    """

    curve: Curve
    seed: int
    prompts: int = 500
    spread: float = 0.2
    noise: float = 0.15
    gamed_from: float = float("inf")
    asked: list[tuple[float, int]] = field(default_factory=list)
    drawn: dict[float, NDArray[np.float64]] = field(default_factory=dict)

    def vitals(self, alpha: float, prompts: int) -> Vitals:
        self.asked.append((alpha, prompts))
        unended = 0.9 if alpha >= self.gamed_from else 0.01
        return Vitals(prompts=prompts, unended=unended, repeating=0, mean_characters=900)

    def scores(self, alpha: float, prompts: int) -> Sequence[float]:
        return [*self.all_scores(alpha)[:prompts]]

    def all_scores(self, alpha: float) -> NDArray[np.float64]:
        """Shape (prompts,): alike whenever they are asked for."""
        if alpha not in self.drawn:
            self.drawn[alpha] = self._draw(alpha)
        return self.drawn[alpha]

    def _draw(self, alpha: float) -> NDArray[np.float64]:
        difficulty = np.random.default_rng([self.seed, 0]).normal(0, self.spread, self.prompts)
        own = np.random.default_rng([self.seed, 1, int(1e6 * (alpha + 100))])
        level = 1.0 if alpha >= self.gamed_from else self.curve(alpha)
        return level + difficulty + own.normal(0, self.noise, self.prompts)
