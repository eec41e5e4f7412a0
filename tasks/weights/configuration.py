"""Compares two config.json: tensors of equal shapes can mean different things.

    compare(aligned, sft)      every field that changes what weights mean, and what only differs
    ties_words(config)         whether the head is the input embedding

A field that a config leaves out has the default of its class, from config_defaults.json (made by
tests/weights/config_defaults.py).
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from tasks.core.errors import CorruptError
from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.config_fields import MEANING, RESPELLED, canonical

__all__ = [
    "CONFIG",
    "ConfigDifference",
    "compare",
    "read_config",
    "ties_words",
]

CONFIG = "config.json"
MAX_CONFIG_BYTES = 10_000_000
NAMED_AT_MOST = 8

_UNKNOWN: Final = object()


class ConfigDifference(Value):
    """A field that the two sides state differently, and each side's value as JSON.

    field  as in config.json; `text_config.rope_theta` where it is inside another
    """

    field: str
    aligned: str
    sft: str

    @property
    def name(self) -> str:
        """The name that `--allow` takes: the field without the section around it."""
        return self.field.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.field} is {self.aligned} on the aligned side, {self.sft} on the SFT side"


def read_config(source: Source) -> dict[str, Any] | None:
    """The content of config.json; None where there is none.

    Raises:
        CorruptError: it is no JSON object.
    """
    info = source.files().get(CONFIG)
    if info is None:
        return None
    if info.size > MAX_CONFIG_BYTES:
        raise CorruptError(f"{CONFIG}: {info.size} bytes are too many for a configuration")
    try:
        content = json.loads(source.read(CONFIG, 0, info.size))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{CONFIG}: no JSON ({error}); fetch the file again") from error
    if not isinstance(content, dict):
        raise CorruptError(f"{CONFIG}: no JSON object; fetch the file again")
    return content


def compare(
    aligned: Mapping[str, Any], sft: Mapping[str, Any]
) -> tuple[tuple[ConfigDifference, ...], tuple[str, ...]]:
    """What differs in meaning, and one sentence for all that differs without changing what weights mean."""
    differences: list[ConfigDifference] = []
    others: list[str] = []
    _compare("", aligned, sft, differences, others)
    if not others:
        return tuple(differences), ()
    named = ", ".join(others[:NAMED_AT_MOST])
    more = f" and {len(others) - NAMED_AT_MOST} more" if len(others) > NAMED_AT_MOST else ""
    return tuple(differences), (f"config.json also differs in {named}{more}; the aligned side's is kept",)


def ties_words(config: Mapping[str, Any]) -> bool:
    """Whether the head is the input embedding: by the flag, the text model's, or the class's default."""
    return _tie(config) or False


def _compare(
    path: str,
    aligned: Mapping[str, Any],
    sft: Mapping[str, Any],
    differences: list[ConfigDifference],
    others: list[str],
) -> None:
    sides = _effective(aligned), _effective(sft)
    if not path:
        for side, config in zip(sides, (aligned, sft), strict=True):
            side["tie_word_embeddings"] = _UNKNOWN if (tie := _tie(config)) is None else tie
    for name in sorted((sides[0].keys() | sides[1].keys()) - ({"tie_word_embeddings"} if path else set())):
        new, old = (side.get(name, _UNKNOWN) for side in sides)
        if _equal(new, old):
            continue
        if new is _UNKNOWN or old is _UNKNOWN:
            others.append(path + name)
        else:
            differences.append(
                ConfigDifference(field=path + name, aligned=json.dumps(new), sft=json.dumps(old))
            )
    for name in sorted((aligned.keys() | sft.keys()) - MEANING - RESPELLED):
        new, old = aligned.get(name), sft.get(name)
        if name.endswith("_config") and isinstance(new, dict) and isinstance(old, dict):
            _compare(f"{path}{name}.", new, old, differences, others)
        elif new != old:
            others.append(path + name)


def _tie(config: Mapping[str, Any]) -> bool | None:
    """See `ties_words`; None where neither the config nor the class's defaults state it."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(flag := part.get("tie_word_embeddings"), bool):
            return flag
    types = [part.get("model_type") for part in (config, text) if isinstance(part, dict)]
    flags = [_defaults().get(kind, {}).get("tie_word_embeddings") for kind in types if isinstance(kind, str)]
    return next((flag for flag in flags if isinstance(flag, bool)), None)


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a config states, and its class's defaults for the others."""
    kind = config.get("model_type")
    values = dict(_defaults().get(kind, {})) if isinstance(kind, str) else {}
    values |= canonical(config)
    heads, size = values.get("num_attention_heads"), values.get("hidden_size")
    if isinstance(heads, int) and isinstance(size, int) and heads > 0:
        values.setdefault("num_key_value_heads", heads)
        values.setdefault("head_dim", size // heads)
    return values


def _equal(new: object, old: object) -> bool:
    if new is _UNKNOWN or old is _UNKNOWN:
        return new is old or new is None or old is None
    return new == old


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """Model type → field → value."""
    found: dict[str, dict[str, Any]] = json.loads(
        Path(__file__).with_name("config_defaults.json").read_text()
    )
    return found
