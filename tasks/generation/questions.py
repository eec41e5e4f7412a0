"""The items of a benchmark's file of questions, as turns of a user."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError
from tasks.core.text_files import read_json, read_json_lines
from tasks.core.values import Value
from tasks.generation.settings import QuestionForm

__all__ = ["Question", "read_questions"]


class Question(Value):
    """One item: what the user says in each turn, its category, and the item as it is in the file."""

    turns: tuple[str, ...]
    category: str | None = None
    item: dict[str, Any]


def read_questions(path: Path, form: QuestionForm) -> tuple[Question, ...]:
    """The items of a file in this form.

    instructions  a JSON list of objects with an "instruction", one turn each, as AlpacaEval has it
    dialogues     a line an object with "question_id", "category" and "turns", all as many, as FastChat has it
    prompts       a line an object with "uid", "prompt" and, if it has one, a "category", as Arena-Hard has it

    Raises:
        InputError: no such file, not of that form, or empty; as `read_json` besides.
    """
    items = read_json(path) if form == "instructions" else [row for _, row in read_json_lines(path)]
    if not isinstance(items, list) or not items:
        raise InputError(f"{path}: expected a JSON list of at least one instruction")
    questions = tuple(READERS[form](path, number, item) for number, item in enumerate(items))
    if len({len(question.turns) for question in questions}) > 1:
        raise InputError(f"{path}: the items have different numbers of turns; give all as many")
    return questions


def _instruction(path: Path, number: int, item: Any) -> Question:  # noqa: ANN401 - whatever the file holds
    text = item.get("instruction") if isinstance(item, dict) else None
    if not isinstance(text, str) or not text:
        raise InputError(f'{path}: item {number} has no text under "instruction"')
    return Question(turns=(text,), item=item)


def _turns(path: Path, number: int, item: Any) -> Question:  # noqa: ANN401
    turns = item.get("turns") if isinstance(item, dict) else None
    if not isinstance(turns, list) or not turns or not all(isinstance(t, str) and t for t in turns):
        raise InputError(f'{path}: item {number} has no texts under "turns"')
    if "question_id" not in item or not isinstance(item.get("category"), str):
        raise InputError(f'{path}: item {number} has no "question_id" or no "category"')
    return Question(turns=tuple(turns), category=item["category"], item=item)


def _prompt(path: Path, number: int, item: Any) -> Question:  # noqa: ANN401
    for field in ("uid", "prompt"):
        if not isinstance(item.get(field), str) or not item[field]:
            raise InputError(f"{path}: item {number} has no text under {field!r}")
    category = item.get("category")
    return Question(
        turns=(item["prompt"],), category=category if isinstance(category, str) else None, item=item
    )


READERS: dict[QuestionForm, Callable[[Path, int, Any], Question]] = {
    "instructions": _instruction,
    "dialogues": _turns,
    "prompts": _prompt,
}
