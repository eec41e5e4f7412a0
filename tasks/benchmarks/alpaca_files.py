"""AlpacaEval's files: answers (model_outputs.json) and annotations, read and checked."""

import json
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError
from tasks.core.text_files import one_line, read_json
from tasks.stores.disk import whole_file

__all__ = ["Row", "in_order_of", "preference_of", "read_annotations", "read_answers", "write_rows"]

Row = dict[str, Any]

# what is one in a file, and what more than one is called
SAME_IN_ALL = {"generator_2": "answers of", "generator_1": "references of", "annotator": "judged by"}


def read_answers(path: Path) -> list[Row]:
    """A file of answers: [{"instruction", "output", "generator"}, …], each instruction once.

    Raises:
        InputError: no such file, or an instruction or output is missing, empty, no text or double.
    """
    rows = _read_rows(path, ("instruction", "output"))
    _require_each_once(rows, path)
    for index, row in enumerate(rows):
        for field in ("generator", "dataset"):
            if not isinstance(row.get(field, ""), str):
                raise InputError(f"{path}: item {index} has something else than a text in {field!r}")
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

    One model against one reference by one judge, each instruction once. Other fields are let be.

    Raises:
        InputError: no such file, or it is not of this form: names the item and what the form wants.
    """
    rows = _read_rows(path, ("instruction", "output_1", "output_2"))
    _require_each_once(rows, path)
    for index, row in enumerate(rows):
        _require_preference(row, f"{path}: item {index}")
    for field, what in SAME_IN_ALL.items():
        found = {one_line(str(row.get(field, "nobody that it names"))): None for row in rows}
        if len(found) > 1:
            raise InputError(
                f"{path}: {what} {' and '.join(sorted(found))} ({field!r}); give a file of one, for figures "
                "of several cannot be mixed"
            )
    return rows


def preference_of(row: Row) -> float | None:
    """1 to 2, None where there is no judgment: null, or -1 as the package's cache has it."""
    value = row["preference"]
    return None if _is_unjudged(value) else float(value)


def write_rows(rows: list[Row], path: Path) -> None:
    """Writes rows as JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _read_rows(path: Path, texts: tuple[str, ...]) -> list[Row]:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: not a list of items")
    for index, row in enumerate(rows):
        for field in texts:
            if not isinstance(row, dict) or not isinstance(row.get(field), str):
                raise InputError(f"{path}: item {index} has no text in {field!r}")
    return rows


def _require_each_once(rows: list[Row], path: Path) -> None:
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        earlier = first.setdefault(row["instruction"], index)
        if earlier != index:
            raise InputError(f"{path}: item {index} has the same instruction as item {earlier}")


def _require_preference(row: Row, where: str) -> None:
    if "preference" not in row:
        raise InputError(f"{where} has no 'preference'; write null where there is no judgment")
    value = row["preference"]
    if _is_unjudged(value):
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 2:
        kind = ", a text" if isinstance(value, str) else ""
        raise InputError(
            f"{where} has the preference {str(value)[:40]!r}{kind}; AlpacaEval's are numbers from 1 "
            "(the reference is better) to 2 (the answer is), 1.5 for a draw, and null where there is no "
            "judgment"
        )


def _is_unjudged(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and (value == -1 or value != value)
    )


def _start(row: Row) -> str:
    return repr(row["instruction"][:60])
