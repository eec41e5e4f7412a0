"""What an endpoint's reply, or its refusal, means for the item: an answer, or none and why."""

import re
from typing import TYPE_CHECKING, Literal

from tasks.core.text_files import clean_text
from tasks.generation.answer_journal import Answer
from tasks.generation.answers import is_looping
from tasks.generation.completions import field_of, parse_completion, text_of

if TYPE_CHECKING:
    from openai import APIStatusError

__all__ = ["ITEM_STATUSES", "Failure", "answer_of", "no_answer", "refusal", "units"]

Failure = Literal["content_filter", "context_length", "refused", "bad_reply", "timeout", "dropped"]

ITEM_STATUSES = (400, 403, 413, 422)  # that may be about one item alone
MOST_KEPT = 2000  # characters of what came in place of an answer
FILTERED = re.compile(r"content[ _-]?(filter|management|policy)|responsible\s?ai", re.IGNORECASE)
TOO_LONG = re.compile(
    r"context[ _]length|context[ _]window|maximum model length|max_model_len|too long|too many tokens",
    re.IGNORECASE,
)
# A word is a unit of repetition, and each character of the scripts that put no spaces between words.
UNITS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
    r"|[^\s\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+"
)


def answer_of(body: str) -> Answer:
    """The answer of a reply's body; whatever its shape, it is one item. Never raises."""
    choice, _, tokens = parse_completion(body)
    message = choice.get("message")
    text, reason = text_of(choice), field_of(choice, "finish_reason")
    content = field_of(message, "content")
    if not isinstance(message, dict) or not (content is None or isinstance(content, str)):
        return no_answer("bad_reply", body)
    if not text and reason == "content_filter":
        return no_answer("content_filter", body)
    if content is None and isinstance(said := message.get("refusal"), str):
        return no_answer("refused", said)
    found = units(text)
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(found))}
    return Answer(
        output=text,
        tokens=tokens or len(found),
        finish_reason=reason if isinstance(reason, str) else "unknown",
        looping=is_looping([numbers[unit] for unit in found]),
    )


def no_answer(failure: Failure, reply: str) -> Answer:
    """An empty answer, with why it is empty and what came in its place."""
    kept = clean_text(reply)[:MOST_KEPT]
    return Answer(output="", tokens=0, finish_reason=failure, looping=False, failure=failure, reply=kept)


def refusal(error: "APIStatusError", said: str) -> Answer:
    """An empty answer to a request that the server refused; `said` is the error without the key."""
    code = str(error.code or "")
    if "content_filter" in code or FILTERED.search(said):
        return no_answer("content_filter", said)
    if "context_length" in code or error.status_code == 413 or TOO_LONG.search(said):
        return no_answer("context_length", said)
    return no_answer("refused", said)


def units(text: str) -> list[str]:
    """The text cut into what can repeat: words, or characters where a script has no spaces."""
    return UNITS.findall(text)
