"""Held-out prompts: those of a search, never those of an evaluation that judges its result.

A prompt of an evaluation set is recognized by the digest of its normalized text, whatever file it
comes in. The digests of the known sets lie beside this module; those of what a run asks, and of the
benchmarks on this machine, are given in addition.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError
from tasks.core.text_files import parse_json, read_text
from tasks.core.values import Value

__all__ = ["HeldOut", "digest", "known_evaluations", "read_prompts", "split", "with_prompts"]

DIGEST_DIGITS = 12  # 48 bits: a file of a million prompts has a false alarm once in a hundred thousand
DIGESTS = Path(__file__).with_name("evaluations.json")
FIELDS = ("instruction", "prompt", "question", "text")
SHOWN = 3


class HeldOut(Value):
    """The prompts of a search: α is chosen on one half and its gain confirmed on the other."""

    choosing: tuple[str, ...]
    confirming: tuple[str, ...]


def digest(text: str) -> str:
    """Twelve hex digits: the sha256 of the text's letters and digits, in lower case, one space apart."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(character if character.isalnum() else " " for character in plain).split()
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:DIGEST_DIGITS]


@cache
def known_evaluations() -> dict[str, frozenset[str]]:
    """The digests of each evaluation set's prompts, by its title."""
    sets: dict[str, list[str]] = json.loads(DIGESTS.read_text(encoding="utf-8"))
    return {title: frozenset(digests) for title, digests in sets.items()}


def with_prompts(
    evaluations: Mapping[str, frozenset[str]], prompts: Mapping[str, Iterable[str]]
) -> dict[str, frozenset[str]]:
    """The same sets, and the digests of prompts by the title of what asks them."""
    more = {title: frozenset(map(digest, texts)) for title, texts in prompts.items()}
    return {
        title: evaluations.get(title, frozenset()) | more.get(title, frozenset())
        for title in dict.fromkeys((*evaluations, *more))
    }


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file: JSON lines or a JSON list, of texts or of objects.

    An object's prompt is its "instruction", "prompt", "question" or "text".

    Raises:
        InputError: no such file, not of that form, or without prompts.
    """
    content = read_text(path)
    prompts = tuple(_prompt(path, number, item) for number, item in enumerate(_items(path, content), start=1))
    if not prompts:
        raise InputError(f'{path}: no prompts in it; give JSON lines with a "prompt" each')
    return prompts


def split(
    prompts: Iterable[str], evaluations: Mapping[str, frozenset[str]], *, choosing: int, confirming: int
) -> HeldOut:
    """Two disjoint halves, the same for the same prompts in whatever order; repeated prompts once.

    Args:
        evaluations: digests by the title of the set, as `known_evaluations` gives them.
        choosing, confirming: the most prompts of each half.

    Raises:
        InputError: a prompt belongs to an evaluation set, or there are fewer than two prompts.
    """
    by_digest = {digest(prompt): prompt for prompt in sorted(prompts, reverse=True)}
    _refuse_evaluations(by_digest, evaluations)
    # A digest's order is random to the prompt's content and known to everybody.
    order = sorted(by_digest, key=lambda key: hashlib.sha256(f"split {key}".encode()).digest())
    if len(order) < 2:
        raise InputError("a search needs at least two different prompts: one to choose on, one to confirm on")
    half = -(-len(order) // 2)
    return HeldOut(
        choosing=tuple(by_digest[key] for key in order[:half][:choosing]),
        confirming=tuple(by_digest[key] for key in order[half:][:confirming]),
    )


def _refuse_evaluations(prompts: Mapping[str, str], evaluations: Mapping[str, frozenset[str]]) -> None:
    for title, digests in evaluations.items():
        if found := sorted(prompts[key] for key in digests & prompts.keys()):
            shown = "; ".join(repr(text[:60]) for text in found[:SHOWN])
            raise InputError(
                f"{len(found)} of the prompts belong to {title}, which judges the result: it cannot choose α "
                f"({shown}{'; …' if len(found) > SHOWN else ''}); take them out, or give other prompts"
            )


def _items(path: Path, content: str) -> list[Any]:
    """The values of a JSON list, or of JSON lines."""
    if content.lstrip().startswith("["):
        items: list[Any] = parse_json(content, f"{path}: prompts")
        return items
    lines = enumerate(content.split("\n"), start=1)
    return [
        parse_json(line, f"{path}: line {number} of the prompts") for number, line in lines if line.strip()
    ]


def _prompt(path: Path, number: int, item: Any) -> str:  # noqa: ANN401 - whatever the file holds
    found = next((item[name] for name in FIELDS if name in item), None) if isinstance(item, dict) else item
    if not isinstance(found, str) or not found.strip():
        raise InputError(f"{path}: item {number} has no text under any of {', '.join(FIELDS)}")
    return found
