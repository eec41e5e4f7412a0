"""Reads text files from outside, cleans their text, and makes it fit for a terminal.

One policy, where text enters: UTF-8, with or without a byte order mark. A lone surrogate (half of a
pair, which no UTF-8 file can hold and JSON can write as an escape) and NUL become U+FFFD, the
replacement character. Everywhere behind that, text is clean. A name is one line without control
characters besides, for it stands in tables, in Markdown and on terminals.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError

__all__ = [
    "clean",
    "clean_text",
    "in_markdown",
    "one_line",
    "parse_json",
    "printable",
    "read_json",
    "read_json_lines",
    "read_text",
]

UNCLEAN = re.compile("[\x00\ud800-\udfff]")
# what moves a cursor, sets colours, or turns the direction of text, but for the tab and the line feed
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
BRACKETS = re.compile(r"[\[\]`]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_text(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates and NUL."""
    return UNCLEAN.sub(REPLACEMENT, text)


def printable(text: str) -> str:
    """Foreign text for a terminal: control characters are shown as escapes, line feeds stay."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), clean_text(text))


def one_line(text: str) -> str:
    """A foreign name: `printable`, with a single space for white space of any kind."""
    return printable(" ".join(text.split()))


def in_markdown(text: str) -> str:
    """A foreign name as text of Markdown: it opens no tag, no link, and no image that a page fetches."""
    return BRACKETS.sub(r"\\\g<0>", html.escape(one_line(text), quote=False).replace("\\", "\\\\"))


def clean(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """A JSON value with every text in it clean."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): clean(item) for key, item in value.items()}
    return value


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: no such file, or not UTF-8: names the first byte that is not.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line}: byte {content[error.start]:#04x} is not UTF-8; convert the file to UTF-8"
        ) from None


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """A JSON file's value, its text clean.

    Raises:
        InputError: it cannot be read, is no JSON, is nested too deeply, or an object has a key twice.
    """
    return parse_json(read_text(path), str(path))


def read_json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file, each with its line's number; empty lines are none.

    Raises:
        InputError: as `read_json`, or the file is empty, or a line is no object.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            row = parse_json(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number}: not a JSON object")
            rows.append((number, row))
    if not rows:
        raise InputError(f"{path}: empty; expected at least one JSON object")
    return rows


def parse_json(text: str, where: str) -> Any:  # noqa: ANN401
    """One JSON value, its text clean; raises as `read_json`, with `where` in front."""
    try:
        return clean(json.loads(text, object_pairs_hook=_object))
    except RecursionError:
        raise InputError(f"{where}: cannot be read as JSON: nested too deeply") from None
    except ValueError as error:
        digits = "a number of thousands of digits" if "Exceeds the limit" in str(error) else error
        raise InputError(f"{where}: cannot be read as JSON: {digits}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has {twice!r} twice")
    return found
