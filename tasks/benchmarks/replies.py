"""A judge's reply, read as data from outside: whatever its shape, it is a choice to keep, or raw text."""

import math
from typing import Any, NamedTuple

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.judge_journal import Choice
from tasks.core.errors import InputError
from tasks.core.text_files import clean_text, parse_json

__all__ = ["Reply", "read_reply", "text_of"]

MOST_RAW = 10_000  # characters of a reply that is no chat completion


class Reply(NamedTuple):
    """The first choice, without what is null; {"raw": text} where there is none. And what was counted."""

    choice: Choice
    usage: Usage


def read_reply(body: str) -> Reply:
    """Reads the body of an answered request; never raises."""
    try:
        completion = parse_json(body, "reply")
    except InputError:
        completion = None
    choices = _field(completion, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    counted = _field(completion, "usage")
    usage = Usage(
        requests=1,
        prompt_tokens=_count(_field(counted, "prompt_tokens")),
        completion_tokens=_count(_field(counted, "completion_tokens")),
    )
    if not isinstance(first, dict):
        return Reply({"raw": clean_text(body)[:MOST_RAW]}, usage)
    choice: Choice = _finite(first)
    if total := _count(_field(counted, "total_tokens")):
        choice["total_tokens"] = total
    return Reply(choice, usage)


def text_of(choice: Choice) -> str:
    """The text of a choice's message, "" where it has none."""
    content = _field(choice.get("message"), "content")
    return content if isinstance(content, str) else ""


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return 0
    return int(value)


def _finite(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Without nulls in objects, and with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
