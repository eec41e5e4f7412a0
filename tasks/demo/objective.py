"""The demo's rule as the objective of a search for α."""

from collections.abc import Sequence

from tasks.demo.rule import score

__all__ = ["scores"]


def scores(instructions: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Each answer's points by the rule."""
    return [float(score(*pair)) for pair in zip(instructions, answers, strict=True)]
