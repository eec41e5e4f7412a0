"""The benchmarks' data files with other content: small, ours, and taken for the pinned ones.

What a test shows with them it shows on any machine; figures that stand for a benchmark need the real ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks.alpaca_data import REFERENCE
from tasks.benchmarks.arena_hard_data import CREATIVE_ANSWERS, HARD, HARD_ANSWERS
from tasks.benchmarks.arena_hard_data import QUESTIONS as ARENA_QUESTIONS
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.mt_bench_data import PROMPTS, QUESTIONS, REFERENCES
from tasks.benchmarks.pairwise_prompts import CREATIVE

__all__ = ["ARENA", "CATEGORIES", "INSTRUCTIONS", "arena_answers", "take_for_pinned", "write_ratings"]

INSTRUCTIONS = tuple(f"Explain in a few words what the number {number} is good for." for number in range(24))
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
ARENA = [
    {"uid": f"{number:016x}", "category": category, "prompt": f"Task {number}: {category}, please."}
    for number, category in enumerate([HARD] * 16 + [CREATIVE] * 8)
]
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
        written[file.path] = file.digest
    monkeypatch.setattr("tasks.benchmarks.data.sha256_of", written.__getitem__)
    monkeypatch.setattr("tasks.benchmarks.data.git_blob_of", written.__getitem__)


def arena_answers(model: str, outputs: Sequence[str]) -> list[dict[str, Any]]:
    """A model's answers to ARENA, in Arena-Hard's form."""
    return [
        {
            "uid": row["uid"],
            "model": model,
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": {"answer": output}},
            ],
        }
        for row, output in zip(ARENA, outputs, strict=True)
    ]


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
        ARENA_QUESTIONS: ARENA,
        HARD_ANSWERS: arena_answers("o3-mini", ["A solution, step by step. " * 4] * len(ARENA)),
        CREATIVE_ANSWERS: arena_answers("gemini", ["Once upon a time. " * 4] * len(ARENA)),
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


def write_ratings(folder: Path) -> tuple[Path, Path]:
    """MT-Bench judgments of two models over 80 questions; the second is 0.5 better in each turn."""
    for name, more in (("a", 0.0), ("b", 0.5)):
        rows = [
            {
                "question_id": question,
                "turn": turn,
                "score": 4 + (7 * question) % 5 + more,
                "judge": ["gpt-4", "single-v1"],
                "model": name,
            }
            for turn in (1, 2)
            for question in range(81, 161)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "a.jsonl", folder / "b.jsonl"
