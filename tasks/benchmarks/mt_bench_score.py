"""Figures from MT-Bench's judgments, in FastChat's form: the averages that are published.

score_judgments(Path("judgments.jsonl"))      average, both turns, each category
ratings(Path("judgments.jsonl"))              by question and turn, for pairing two arms
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from tasks.benchmarks.mt_bench import TEMPERATURES, UNPARSED, read_lines
from tasks.core.errors import InputError, PermanentError
from tasks.core.values import Value

__all__ = ["MTBenchScore", "model_of", "ratings", "score_judgments"]

FIRST_QUESTION = 81
PER_CATEGORY = 10
CATEGORIES = tuple(TEMPERATURES)  # in the order of the questions
MIN_JUDGED = 0.95


class MTBenchScore(Value):
    """The figures of one file of judgments. Ratings are from 1 to 10.

    judge           who judged; figures by different judges are never mixed
    average         over all rated turns, as published
    standard_error  of the average, with the two turns of a question as one cluster
                    (arXiv 2411.00640, equation 4, with a correction for few clusters)
    categories      the average of each category that has a rating
    n_total         turns rated; n_unparsed: judgments without a rating; n_failed: turns without
                    a judgment; neither is in any figure
    """

    judge: str
    average: float
    standard_error: float
    first_turn: float
    second_turn: float
    categories: dict[str, float]
    n_total: int
    n_unparsed: int
    n_failed: int


class _Rating(NamedTuple):
    question: int
    turn: int
    score: float | None


def score_judgments(judgments: Path, *, min_judged: float = MIN_JUDGED) -> MTBenchScore:
    """The figures of a file of judgments, by the published rules.

    Raises:
        InputError: the file is not of FastChat's form, lacks a turn, or mixes models or judges.
        PermanentError: less than `min_judged` of its turns have a rating.
    """
    judge, every = _read(judgments)
    rated = [one for one in every if one.score is not None and one.score != UNPARSED]
    if len(rated) < min_judged * len(every):
        raise PermanentError(
            f"{judgments}: {len(rated)} of {len(every)} turns have a rating and a figure needs "
            f"{min_judged:.0%}; judge the rest, or use a judge that keeps to the format"
        )
    if {one.turn for one in rated} != {1, 2}:
        raise InputError(f"{judgments}: MT-Bench needs ratings of the first and of the second turn")
    present = {_category(one.question) for one in rated}
    return MTBenchScore(
        judge=judge,
        average=_mean(rated),
        standard_error=_clustered_error(rated),
        first_turn=_mean(one for one in rated if one.turn == 1),
        second_turn=_mean(one for one in rated if one.turn == 2),
        categories={
            name: _mean(one for one in rated if _category(one.question) == name)
            for name in CATEGORIES
            if name in present
        },
        n_total=len(rated),
        n_unparsed=sum(one.score == UNPARSED for one in every),
        n_failed=sum(one.score is None for one in every),
    )


def ratings(judgments: Path) -> dict[tuple[int, int], float]:
    """The rating of each rated (question, turn); to pair two arms, the question is the cluster.

    Raises:
        InputError: the file is not of FastChat's form, or mixes models or judges.
    """
    _, every = _read(judgments)
    rated = sorted((one.question, one.turn, one.score) for one in every if one.score not in (None, UNPARSED))
    return {(question, turn): score for question, turn, score in rated if score is not None}


def model_of(judgments: Path) -> str:
    """Whose answers a file's judgments are about; raises as `ratings`."""
    _read(judgments)
    return str(read_lines(judgments)[0][1]["model"])


def _read(judgments: Path) -> tuple[str, list[_Rating]]:
    """The judge's name and every turn, each once."""
    every: dict[tuple[int, int], _Rating] = {}
    names: set[tuple[str, str]] = set()
    for number, row in read_lines(judgments):
        try:
            one = _Rating(int(row["question_id"]), int(row["turn"]), row["score"])
            names.add((str(row["judge"][0]), str(row["model"])))
        except (KeyError, IndexError, TypeError, ValueError):
            raise InputError(f"{judgments}: line {number} is no judgment of FastChat's form") from None
        if (one.question, one.turn) in every:
            raise InputError(f"{judgments}: line {number}: turn {one.turn} of {one.question} is judged twice")
        every[one.question, one.turn] = one
    if len(names) > 1:
        both = ", ".join(f"{model} by {judge}" for judge, model in sorted(names))
        raise InputError(f"{judgments}: judgments of {both}; give a file of one model by one judge")
    return names.pop()[0], list(every.values())


def _category(question: int) -> str:
    """MT-Bench's ids: 81 to 90 are writing, 91 to 100 roleplay, and so on to 160."""
    index = (question - FIRST_QUESTION) // PER_CATEGORY
    if not 0 <= index < len(CATEGORIES):
        raise InputError(f"question {question}: MT-Bench's are 81 to 160")
    return CATEGORIES[index]


def _mean(ratings: Iterable[_Rating]) -> float:
    return fmean(one.score for one in ratings if one.score is not None)


def _clustered_error(rated: Sequence[_Rating]) -> float:
    """√(Σ_q (Σ_t (x_qt − x̄))² · Q/(Q−1)) / n over Q questions with n ratings, nan for one question."""
    average = _mean(rated)
    residuals: dict[int, float] = {}
    for one in rated:
        residuals[one.question] = residuals.get(one.question, 0.0) + (one.score or 0.0) - average
    clusters = len(residuals)
    if clusters < 2:
        return math.nan
    return math.sqrt(sum(r * r for r in residuals.values()) * clusters / (clusters - 1)) / len(rated)
