"""Figures from MT-Bench's judgments, in FastChat's form: the averages that are published.

score_judgments(Path("judgments.jsonl"))      average, both turns, each category
ratings(Path("judgments.jsonl"))              by question and turn, for pairing two arms
"""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeGuard

from tasks.benchmarks.figures import MIN_JUDGED, UNKNOWN_CAUSE, Score
from tasks.benchmarks.mt_bench_judge import HIGHEST, LOWEST, TEMPERATURES, UNPARSED
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import one_line, read_json_lines
from tasks.stats.metrics import ArmMetrics

__all__ = ["MTBenchScore", "model_of", "ratings", "score_judgments", "why_not_rated"]

FIRST_QUESTION = 81
PER_CATEGORY = 10
CATEGORIES = tuple(TEMPERATURES)  # in the order of the questions


class MTBenchScore(Score):
    """The figures of one file of judgments. Ratings are from 1 to 10.

    judge           who judged; figures by different judges are never mixed
    average         over all rated turns, as published
    standard_error  of the average, with the two turns of a question as one cluster
                    (arXiv 2411.00640, equation 4, with a correction for few clusters); None where
                    `standard_error_note` says why not
    categories      the average of each category that has a rating
    n_total         turns rated; n_unparsed: judgments without a rating; n_failed: turns without
                    a judgment; neither is in any figure
    not_judged      both of them by cause, as far as the file says it
    """

    judge: str
    average: float
    standard_error: float | None
    standard_error_note: str = ""
    first_turn: float
    second_turn: float
    categories: dict[str, float]
    n_total: int
    n_unparsed: int
    n_failed: int
    not_judged: dict[str, int]

    def metrics(self) -> ArmMetrics:
        """Of the ratings; the file tells nothing of lengths."""
        if self.standard_error is None:
            raise InputError("a verdict needs at least two rated questions; there is 1")
        return ArmMetrics(
            score=self.average,
            standard_error=self.standard_error,
            mean_length=0,
            first_turn=self.first_turn,
            second_turn=self.second_turn,
            categories=self.categories,
            unparsed=self.n_unparsed,
            not_judged=self.not_judged,
        )


class _Rating(NamedTuple):
    question: int
    turn: int
    score: float | None


def score_judgments(
    judgments: Path, *, items: Collection[Hashable] | None = None, min_judged: float = MIN_JUDGED
) -> MTBenchScore:
    """The figures of a file of judgments, by the published rules.

    items  the (question, turn)s that count; None: all

    Raises:
        InputError: the file is not of FastChat's form, lacks a turn, or mixes models or judges.
        PermanentError: less than `min_judged` of its turns have a rating.
    """
    judge, every = _read(judgments)
    not_judged = why_not_rated([row for _, row in read_json_lines(judgments)])
    rated = [turn for turn in every if turn.score is not None and turn.score != UNPARSED]
    if len(rated) < min_judged * len(every):
        raise PermanentError(
            f"{judgments}: {len(rated)} of {len(every)} turns have a rating and a figure needs "
            f"{min_judged:.0%}; judge the rest, or use a judge that keeps to the format"
        )
    if items is not None:
        rated = [turn for turn in rated if (turn.question, turn.turn) in items]
    if {turn.turn for turn in rated} != {1, 2}:
        raise InputError(f"{judgments}: MT-Bench needs ratings of the first and of the second turn")
    error = _clustered_error(rated)
    present = {_category(turn.question) for turn in rated}
    return MTBenchScore(
        judge=judge,
        average=_mean(rated),
        standard_error=error,
        standard_error_note="" if error is not None else "not available, because there is one question",
        first_turn=_mean(turn for turn in rated if turn.turn == 1),
        second_turn=_mean(turn for turn in rated if turn.turn == 2),
        categories={
            name: _mean(turn for turn in rated if _category(turn.question) == name)
            for name in CATEGORIES
            if name in present
        },
        n_total=len(rated),
        n_unparsed=sum(turn.score == UNPARSED for turn in every),
        n_failed=sum(turn.score is None for turn in every),
        not_judged=not_judged,
    )


def why_not_rated(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """The turns without a rating, by cause; a judgment without one is "unparsed"."""
    causes: Counter[str] = Counter()
    for row in rows:
        if row["score"] == UNPARSED:
            causes["unparsed"] += 1
        elif row["score"] is None:
            causes[str(row.get("no_judgment") or UNKNOWN_CAUSE)] += 1
    return dict(causes)


def ratings(judgments: Path) -> dict[tuple[int, int], float | None]:
    """The rating of each (question, turn), None where there is none.

    Raises:
        InputError: the file is not of FastChat's form, or mixes models or judges.
    """
    turns = sorted(_read(judgments)[1], key=lambda turn: (turn.question, turn.turn))
    return {(turn.question, turn.turn): None if turn.score == UNPARSED else turn.score for turn in turns}


def model_of(judgments: Path) -> str:
    """Whose answers a file's judgments are about; raises as `ratings`."""
    _read(judgments)
    return one_line(str(read_json_lines(judgments)[0][1].get("model", judgments.stem)))


def _read(judgments: Path) -> tuple[str, list[_Rating]]:
    """The judge's name and every turn, each once."""
    every: dict[tuple[int, int], _Rating] = {}
    names: set[tuple[str, str]] = set()
    for number, row in read_json_lines(judgments):
        where = f"{judgments}: line {number}"
        turn = _turn(row, where)
        names.add((_judge(row, where), one_line(str(row.get("model", "")))))
        if (turn.question, turn.turn) in every:
            raise InputError(f"{where}: turn {turn.turn} of {turn.question} is judged twice")
        every[turn.question, turn.turn] = turn
    if len(names) > 1:
        both = ", ".join(f"{model} by {judge}" for judge, model in sorted(names))
        raise InputError(f"{judgments}: judgments of {both}; give a file of one model by one judge")
    return names.pop()[0], list(every.values())


def _turn(row: dict[str, Any], where: str) -> _Rating:
    question, turn, score = row.get("question_id"), row.get("turn"), row.get("score", "nothing")
    if not _is_whole(question) or not _is_whole(turn):
        raise InputError(f'{where} is no judgment of FastChat\'s form: "question_id" and "turn" are numbers')
    if turn not in (1, 2):
        raise InputError(f"{where}: turn {turn}: MT-Bench has two")
    if score is not None and (
        isinstance(score, bool)
        or not isinstance(score, int | float)
        or not (score == UNPARSED or LOWEST <= score <= HIGHEST)
    ):
        raise InputError(
            f"{where}: score {str(score)[:40]!r}; MT-Bench's are numbers from {LOWEST} to {HIGHEST}, "
            f"{UNPARSED:g} where the judgment holds none, and null where there is no judgment"
        )
    return _Rating(question, turn, None if score is None else float(score))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _judge(row: dict[str, Any], where: str) -> str:
    """FastChat writes a list of the model and the prompt's name; others write the model alone."""
    judge = row.get("judge")
    name = judge[0] if isinstance(judge, list) and judge else judge
    if not isinstance(name, str) or not name:
        raise InputError(f'{where} is no judgment of FastChat\'s form: it does not say who judged ("judge")')
    return one_line(name)


def _category(question: int) -> str:
    """MT-Bench's ids: 81 to 90 are writing, 91 to 100 roleplay, and so on to 160."""
    index = (question - FIRST_QUESTION) // PER_CATEGORY
    if not 0 <= index < len(CATEGORIES):
        raise InputError(f"question {question}: MT-Bench's are 81 to 160")
    return CATEGORIES[index]


def _mean(ratings: Iterable[_Rating]) -> float:
    return fmean(turn.score for turn in ratings if turn.score is not None)


def _clustered_error(rated: Sequence[_Rating]) -> float | None:
    """√(Σ_q (Σ_t (x_qt − x̄))² · Q/(Q−1)) / n over Q questions with n ratings, None for one question."""
    average = _mean(rated)
    residuals: dict[int, float] = {}
    for turn in rated:
        residuals[turn.question] = residuals.get(turn.question, 0.0) + (turn.score or 0.0) - average
    clusters = len(residuals)
    if clusters < 2:
        return None
    return math.sqrt(sum(r * r for r in residuals.values()) * clusters / (clusters - 1)) / len(rated)
