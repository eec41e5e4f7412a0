"""Hints from names and cards that the two sides were exchanged, which headers cannot show."""

import re

from tasks.stores.source import Source

__all__ = ["exchanged"]

MAX_CARD_BYTES = 1_000_000
_PREFERENCES = re.compile(
    r"(?<![a-z])(dpo|ipo|kto|orpo|simpo|rlhf|ppo|grpo|aligned|preference)(?![a-z])", re.I
)
_BEFORE = re.compile(r"(?<![a-z])(sft|base|pretrained)(?![a-z])", re.I)
_BASE_MODEL = re.compile(r"^base_model:\s*(?:\n\s*-\s*)?[\"']?([\w.\-]+/[\w.\-]+)", re.M)


def exchanged(aligned: Source, sft: Source) -> str | None:
    """A sentence where the SFT side looks like the aligned one, or the other way round; else None."""
    if _base_model(sft) == aligned.checkpoint.uri:
        return f"the SFT side's README names the aligned side as its base model: {_QUESTION}"
    names = _name(aligned), _name(sft)
    if _PREFERENCES.search(names[1]) and not _PREFERENCES.search(names[0]):
        return f"{names[1]!r} on the SFT side sounds like an aligned model: {_QUESTION}"
    if _BEFORE.search(names[0]) and not _BEFORE.search(names[1]) and not _PREFERENCES.search(names[0]):
        return f"{names[0]!r} on the aligned side sounds like the model before it: {_QUESTION}"
    return None


_QUESTION = "are --sft and --aligned exchanged?"


def _name(source: Source) -> str:
    return source.checkpoint.uri.rstrip("/").rpartition("/")[2]


def _base_model(source: Source) -> str | None:
    info = source.files().get("README.md")
    if info is None or info.size > MAX_CARD_BYTES:
        return None
    card = source.read("README.md", 0, info.size).decode(errors="replace")
    header = card.split("---", 2)[1] if card.startswith("---") and card.count("---") > 1 else ""
    found = _BASE_MODEL.search(header)
    return found[1] if found else None
