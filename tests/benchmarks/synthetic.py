"""The benchmarks' data files with other content: small, ours, and taken for the pinned ones.

What a test shows with them it shows on any machine; figures that stand for a benchmark need the real ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks.alpaca_data import REFERENCE
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.mt_bench_data import PROMPTS, QUESTIONS, REFERENCES

__all__ = ["CATEGORIES", "INSTRUCTIONS", "take_for_pinned"]

INSTRUCTIONS = tuple(f"Explain in a few words what the number {number} is good for." for number in range(24))
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
WITH_REFERENCE = ("math", "reasoning", "coding")
TEMPLATES = {
    "single-v1": "[Question] {question} [Answer] {answer}",
    "single-math-v1": "[Question] {question} [Reference] {ref_answer_1} [Answer] {answer}",
    "single-v1-multi-turn": "[1] {question_1} {answer_1} [2] {question_2} {answer_2}",
    "single-math-v1-multi-turn": (
        "[References] {ref_answer_1} {ref_answer_2} [1] {question_1} {answer_1} [2] {question_2} {answer_2}"
    ),
}


def take_for_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes the files to this machine's cache and has their content accepted, until the test ends."""
    written: dict[Path, str] = {}
    for file, rows in _contents().items():
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(_text(file, rows))
        written[file.path] = file.sha256
    monkeypatch.setattr("tasks.benchmarks.data.sha256_of", written.__getitem__)


def _contents() -> dict[DataFile, Sequence[dict[str, Any]]]:
    questions = [
        {
            "question_id": 81 + 10 * number,
            "category": category,
            "turns": [f"A task in {category}.", "And then?"],
        }
        for number, category in enumerate(CATEGORIES)
    ]
    return {
        REFERENCE: [
            {"dataset": "small", "instruction": text, "output": "It is " + "very " * 40 + "useful."}
            | {"generator": "gpt4_1106_preview"}
            for text in INSTRUCTIONS
        ],
        QUESTIONS: questions,
        PROMPTS: [
            {"name": name, "type": "single", "system_prompt": "Rate it.", "prompt_template": template}
            for name, template in TEMPLATES.items()
        ],
        REFERENCES: [
            {"question_id": question["question_id"], "model_id": "gpt-4"}
            | {"choices": [{"index": 0, "turns": ["First.", "Second."]}]}
            for question in questions
            if question["category"] in WITH_REFERENCE
        ],
    }


def _text(file: DataFile, rows: Sequence[dict[str, Any]]) -> str:
    if file.name.endswith(".json"):
        return json.dumps(rows)
    return "".join(json.dumps(row) + "\n" for row in rows)
