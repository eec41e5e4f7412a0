"""Answers to judge, annotations to score, and a look into files of them."""

import json
from pathlib import Path
from typing import Any

SHORT = [f"short {index}" for index in range(30)]
LONG = [f"a much longer answer {index}" for index in range(30)]
ITEMS = 40


def write_outputs(path: Path, outputs: list[str], generator: str) -> Path:
    """A file of answers to "question 0", "question 1", …"""
    rows = [
        {"instruction": f"question {index}", "output": output, "generator": generator, "dataset": "tests"}
        for index, output in enumerate(outputs)
    ]
    path.write_text(json.dumps(rows))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of answers or annotations."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def annotation_rows(model: str = "model", shift: float = 0.0) -> list[dict[str, Any]]:
    """Sound annotations of ITEMS answers of a model; `shift` is added to each preference for it."""
    return [
        {
            "instruction": f"question {index}",
            "output_1": f"reference {index}",
            "output_2": f"answer {index} of {model}",
            "generator_1": "reference",
            "generator_2": model,
            "annotator": "a judge",
            "preference": 1 + ((7 * index) % ITEMS) / (2 * ITEMS) + shift,
        }
        for index in range(ITEMS)
    ]
