"""AlpacaEval's files: answers (model_outputs.json) and annotations, read and checked."""

import json
import math
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError
from tasks.stores.disk import whole_file

__all__ = ["Row", "in_order_of", "preference_of", "read_annotations", "read_answers", "write_rows"]

Row = dict[str, Any]


def read_answers(path: Path) -> list[Row]:
    """A file of answers: [{"instruction", "output", "generator"}, …], each instruction once.

    Raises:
        InputError: no such file, or an instruction or output is missing, empty, no text or double.
    """
    rows = _read_rows(path, ("instruction", "output"))
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        earlier = first.setdefault(row["instruction"], index)
        if earlier != index:
            raise InputError(f"{path}: item {index} has the same instruction as item {earlier}")
    return rows


def in_order_of(reference: list[Row], answers: list[Row], path: Path) -> list[Row]:
    """The answers of the file `path`, in the order of the reference's instructions.

    Raises:
        InputError: the two do not have the same instructions; the first that differs is named.
    """
    by_instruction = {row["instruction"]: row for row in answers}
    known = {row["instruction"] for row in reference}
    for index, row in enumerate(answers):
        if row["instruction"] not in known:
            raise InputError(
                f"{path}: item {index} has an instruction that the reference has not: {_start(row)}"
            )
    for index, row in enumerate(reference):
        if row["instruction"] not in by_instruction:
            raise InputError(f"{path}: no answer to item {index} of the reference: {_start(row)}")
    return [by_instruction[row["instruction"]] for row in reference]


def read_annotations(path: Path) -> list[Row]:
    """A file of annotations: [{"instruction", "output_1", "output_2", "preference", …}, …].

    Raises:
        InputError: no such file, or it is not of this form.
    """
    return _read_rows(path, ("instruction", "output_1", "output_2"))


def preference_of(row: Row) -> float | None:
    """1 to 2, None where there is no judgment: null, or -1 as older files have it. 0 was a draw."""
    value = row.get("preference")
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    value = float(value) or 1.5
    return value if 1 <= value <= 2 else None


def write_rows(rows: list[Row], path: Path) -> None:
    """Writes rows as JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _read_rows(path: Path, texts: tuple[str, ...]) -> list[Row]:
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: not a list of items")
    for index, row in enumerate(rows):
        for field in texts:
            if not isinstance(row, dict) or not isinstance(row.get(field), str):
                raise InputError(f"{path}: item {index} has no text in {field!r}")
    return rows


def _start(row: Row) -> str:
    return repr(row["instruction"][:60])
