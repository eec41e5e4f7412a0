"""MT-Bench's questions with both arms' answers and judgments, side by side."""

from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.data import MTBenchFiles
from tasks.benchmarks.mt_bench import UNPARSED, read_lines, read_turns
from tasks.reports.run_report import Dialogue, DialogueTurn

__all__ = ["Rated", "dialogues"]


class Rated(NamedTuple):
    """An arm's answers and the judgments of them, both in FastChat's form."""

    answers: Path
    judgments: Path


class _Judgment(NamedTuple):
    rating: float | None
    words: str


def dialogues(files: MTBenchFiles, original: Rated, expo: Rated) -> tuple[Dialogue, ...]:
    """Every question that both arms answered, in the benchmark's order.

    Raises:
        InputError: a file cannot be read, or is not of FastChat's form.
    """
    answers = [read_turns(arm.answers) for arm in (original, expo)]
    judged = [_judgments(arm.judgments) for arm in (original, expo)]
    references = read_turns(files.references)
    found = []
    for _, question in read_lines(files.questions):
        number = int(question["question_id"])
        if number not in answers[0] or number not in answers[1]:
            continue
        turns = []
        for turn, asked in enumerate(question["turns"], start=1):
            before, after = (one.get((number, turn), _Judgment(None, "")) for one in judged)
            turns.append(
                DialogueTurn(
                    question=asked,
                    original=answers[0][number][turn - 1],
                    expo=answers[1][number][turn - 1],
                    reference=references[number][turn - 1] if number in references else "",
                    original_rating=before.rating,
                    expo_rating=after.rating,
                    original_judgment=before.words,
                    expo_judgment=after.words,
                )
            )
        found.append(Dialogue(question_id=number, category=question["category"], turns=tuple(turns)))
    return tuple(found)


def _judgments(path: Path) -> dict[tuple[int, int], _Judgment]:
    """By question and turn; a judgment without a rating keeps its words."""
    found = {}
    for _, row in read_lines(path):
        rating = None if row["score"] in (None, UNPARSED) else float(row["score"])
        found[int(row["question_id"]), int(row["turn"])] = _Judgment(rating, row["judgment"] or "")
    return found
