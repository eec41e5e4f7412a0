"""The benchmarks' files are read as turns, and a wrong one is named."""

import json
from pathlib import Path

import pytest

from tasks.core.errors import InputError
from tasks.generation.questions import read_questions
from tasks.generation.settings import QuestionForm

TURNS = '{"question_id": 81, "category": "math", "turns": ["One?", "Two?"]}\n'


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("instructions", "{", "cannot be read"),
        ("instructions", "[]", "at least one"),
        ("instructions", '{"instruction": "x"}', "JSON list"),
        ("instructions", '[{"instruction": "x"}, {"prompt": "y"}]', "item 1"),
        ("instructions", '[{"instruction": ""}]', "item 0"),
        ("dialogues", "", "at least one"),
        ("dialogues", TURNS + "{", "cannot be read"),
        ("dialogues", TURNS.replace("turns", "prompt"), 'item 0 has no texts under "turns"'),
        ("dialogues", TURNS.replace("category", "kind"), 'no "category"'),
        ("dialogues", TURNS + TURNS.replace(', "Two?"', ""), "different numbers of turns"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, form: QuestionForm, content: str, message: str) -> None:
    path = tmp_path / "instructions.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_questions(path, form)


def test_instructions_are_one_turn(tmp_path: Path) -> None:
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps([{"instruction": "é", "dataset": "d"}]))
    (question,) = read_questions(path, "instructions")
    assert (question.turns, question.category) == (("é",), None)
    assert question.item == {"instruction": "é", "dataset": "d"}


def test_questions_of_mt_bench_have_two(tmp_path: Path) -> None:
    path = tmp_path / "question.jsonl"
    path.write_text(TURNS)
    (question,) = read_questions(path, "dialogues")
    assert (question.turns, question.category, question.item["question_id"]) == (("One?", "Two?"), "math", 81)
