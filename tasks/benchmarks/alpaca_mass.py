"""How much of the judge's probability the two names have in a reply of one token: a choice, or none."""

import math
from typing import Any, TypeGuard

from tasks.benchmarks.judge_journal import Choice
from tasks.generation.completions import field_of

__all__ = ["MIN_MASS", "NAMES", "defect", "name_mass", "parseable"]

NAMES = ("m", "M")  # of the two outputs in the prompt
# of a probability of 1, with what rounding adds, and of one that is 0 as a float
MOST_LOGPROB, LEAST_LOGPROB = 1e-3, -1e4
MIN_MASS = 0.5  # of the likeliest tokens' probability that the two names must have together


def name_mass(choice: Choice) -> float | None:
    """The two names' part of the probability of the likeliest tokens, 0 to 1; None where there are none.

    A reply is data from outside: what is not of the form has no mass.
    """
    tokens = _likeliest_tokens(choice)
    total = sum(tokens.values())
    return sum(tokens.get(name, 0.0) for name in NAMES) / total if total > 0 else None


def defect(choice: Choice) -> str:
    """Why a reply is no judgment: the two names do not have most of the probability. "" if they have."""
    mass = name_mass(choice)
    if mass is None:
        return "no log-probabilities"
    return "low mass" if mass < MIN_MASS else ""


def parseable(choice: Choice) -> Choice:
    """The choice as it is, if alpaca_eval's parser can read all of it; else with what can be read of it."""
    tokens = _likeliest_tokens(choice)
    listed = choice["logprobs"]["content"][0]["top_logprobs"]
    if len(tokens) == len(listed) and all(abs(entry["logprob"]) <= -LEAST_LOGPROB for entry in listed):
        return choice
    readable = [{"token": name, "logprob": math.log(p) if p else -math.inf} for name, p in tokens.items()]
    return {**choice, "logprobs": {"content": [{"top_logprobs": readable}]}}


def _likeliest_tokens(choice: Choice) -> dict[str, float]:
    """The probabilities of the likeliest tokens of a reply of one token; empty if it is of another form."""
    content = field_of(field_of(choice, "logprobs"), "content")
    if not isinstance(content, list) or len(content) != 1:
        return {}
    tokens: dict[str, float] = {}
    found: Any = field_of(content[0], "top_logprobs")
    for token in found if isinstance(found, list) else []:
        name, value = field_of(token, "token"), field_of(token, "logprob")
        if isinstance(name, str) and _is_logprob(value):
            tokens.setdefault(name, math.exp(max(value, LEAST_LOGPROB)))
    return tokens


def _is_logprob(value: object) -> TypeGuard[float]:
    """Whether a value is a number that can be one; NaN cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value < MOST_LOGPROB
