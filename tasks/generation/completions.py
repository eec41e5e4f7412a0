"""A chat completion as data from outside: its body within a limit of time, read whatever its shape."""

import math
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import InputError
from tasks.core.text_files import clean_text, parse_json

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["Completion", "field_of", "parse_completion", "read_body", "retry_wait", "text_of"]

MOST_RAW = 10_000  # characters that are kept of a reply that is no chat completion
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds, between two attempts that the server says nothing about


class Completion(NamedTuple):
    """The first choice, without what is null; {"raw": text} where there is none. And the counted tokens."""

    choice: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int


def read_body(client: "OpenAI", arguments: dict[str, Any], seconds: float) -> str:
    """The body of the answer to one request, which may take so many seconds, however slowly it comes.

    Raises:
        TimeoutError: it takes longer.
        openai.APIError: as the client raises it.
    """
    import httpx2  # openai's own
    import openai

    end = time.monotonic() + seconds
    parts = []
    with client.chat.completions.with_streaming_response.create(**arguments) as answer:
        try:
            for part in answer.iter_bytes():
                parts.append(part)
                if time.monotonic() > end:
                    raise TimeoutError
        except httpx2.TimeoutException:
            raise TimeoutError from None
        except httpx2.HTTPError as error:
            raise openai.APIConnectionError(request=answer.http_request) from error
    return b"".join(parts).decode("utf-8", errors="replace")


def retry_wait(error: "APIError", attempt: int, longest: float) -> float | None:
    """Seconds to wait before another try: as the server asks (Retry-After), or longer each time.

    attempt  0 after the first
    longest  seconds that a server may ask for; None where it asks for more
    """
    import openai

    asked = error.response.headers.get("retry-after", "") if isinstance(error, openai.APIStatusError) else ""
    if asked.isdecimal():
        return float(asked) if float(asked) <= longest else None
    return min(FIRST_WAIT * 4.0**attempt * random.uniform(0.75, 1), LONGEST_WAIT)


def parse_completion(body: str) -> Completion:
    """Reads the body of an answered request; never raises."""
    try:
        completion = parse_json(body, "reply")
    except InputError:
        completion = None
    choices, usage = field_of(completion, "choices"), field_of(completion, "usage")
    first = choices[0] if isinstance(choices, list) and choices else None
    tokens = [_count(field_of(usage, name)) for name in ("prompt_tokens", "completion_tokens")]
    if not isinstance(first, dict):
        return Completion({"raw": clean_text(body)[:MOST_RAW]}, *tokens)
    choice: dict[str, Any] = _finite(first)
    if total := _count(field_of(usage, "total_tokens")):
        choice["total_tokens"] = total
    return Completion(choice, *tokens)


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice's message, "" where it has none."""
    content = field_of(choice.get("message"), "content")
    return content if isinstance(content, str) else ""


def field_of(value: object, name: str) -> object:
    """A field of what may be an object, None where there is none."""
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
