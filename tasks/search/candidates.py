"""Which α compete: a grid with equal ratios, extended upward and refined around the best."""

import math
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from tasks.core.values import Value

__all__ = ["Grid", "extension", "first_candidates", "most_candidates", "refinement"]

SIGNIFICANT = 2  # digits of a candidate: a third would claim a precision that no search has


class Grid(Value):
    """The candidates of a search.

    lowest, highest  of the first candidates, which have equal ratios
    count            how many there are between them, both included
    negative         also −α for those up to 1, which lie between the two checkpoints (−1 is the SFT model)
    limit            the search never extends beyond this α
    """

    lowest: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    highest: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    count: int = Field(default=6, ge=2, le=64)
    negative: bool = False
    limit: float = Field(default=32.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.lowest < self.highest <= self.limit:
            raise ValueError("the grid needs lowest < highest ≤ limit")
        return self

    @property
    def ratio(self) -> float:
        """Of two neighbors."""
        return float((self.highest / self.lowest) ** (1 / (self.count - 1)))


def first_candidates(grid: Grid) -> tuple[float, ...]:
    """The candidates of the first round, rising; α = 0, the aligned model itself, is one of them."""
    positive = {_rounded(grid.lowest * grid.ratio**step) for step in range(grid.count)}
    negative = {-alpha for alpha in positive if alpha <= 1} if grid.negative else set()
    return tuple(sorted({0.0} | positive | negative))


def extension(grid: Grid, top: float) -> float | None:
    """The candidate above the highest so far; None beyond the grid's limit."""
    above = _rounded(top * grid.ratio)
    return above if top < above <= grid.limit else None


def most_candidates(grid: Grid) -> int:
    """How many there are if every extension up to the limit competes, and both refinements do."""
    tried = list(first_candidates(grid))
    while (above := extension(grid, tried[-1])) is not None:
        tried.append(above)
    return len(tried) + 2


def refinement(grid: Grid, best: float, tried: Iterable[float]) -> tuple[float, ...]:
    """Candidates on both sides of the best, in the (geometric) middle between it and its neighbors.

    None around α = 0, from which there is no middle by ratios.
    """
    if best == 0:
        return ()
    known = set(tried)
    sizes = sorted(abs(alpha) for alpha in known if alpha * best > 0)
    here = sizes.index(abs(best))
    below = sizes[here - 1] if here else abs(best) / grid.ratio
    above = sizes[here + 1] if here + 1 < len(sizes) else abs(best) * grid.ratio
    middles = (_rounded(math.sqrt(abs(best) * neighbor)) for neighbor in (below, above))
    return tuple(
        alpha
        for middle in middles
        if (alpha := math.copysign(middle, best)) not in known and middle <= grid.limit
    )


def _rounded(alpha: float) -> float:
    return float(f"{alpha:.{SIGNIFICANT}g}")
