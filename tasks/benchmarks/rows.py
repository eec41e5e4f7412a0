"""What a report shows of a benchmark's items: both arms' answers, and what the judge said of each."""

from typing import NamedTuple

from pydantic import Field

from tasks.stats.paired import FiniteValue

__all__ = ["AnswerRow", "Dialogue", "DialogueTurn", "Rows"]


class AnswerRow(FiniteValue):
    """One instruction with the answers to it, and the judge's preference for each arm over the reference.

    original_preference, expo_preference  0 (the reference is better) to 1 (the arm is better),
                                          None where the judge gave none
    benchmark  "" in reports of one such benchmark only: it is then that of their verdicts
    """

    instruction: str
    original: str
    expo: str
    reference: str = ""
    original_preference: float | None = None
    expo_preference: float | None = None
    benchmark: str = Field(default="", exclude_if=lambda name: not name)


class DialogueTurn(FiniteValue):
    """One turn of a dialogue: what was asked, both arms' answers, and how each was rated.

    original_rating, expo_rating      on the benchmark's scale (1 to 10 for MT-Bench), None without one
    original_judgment, expo_judgment  the judge's words
    """

    question: str
    original: str
    expo: str
    reference: str = ""
    original_rating: float | None = None
    expo_rating: float | None = None
    original_judgment: str = ""
    expo_judgment: str = ""


class Dialogue(FiniteValue):
    """One question of a benchmark whose answers are rated or verified, with both arms' answers to its turns.

    benchmark  "" in reports of one such benchmark only: it is then that of their verdicts
    """

    question_id: int
    category: str
    turns: tuple[DialogueTurn, ...]
    benchmark: str = Field(default="", exclude_if=lambda name: not name)


class Rows(NamedTuple):
    """A benchmark's rows: comparisons with a reference, or dialogues."""

    answers: tuple[AnswerRow, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()
