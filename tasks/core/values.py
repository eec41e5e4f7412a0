"""The base of every value that travels between stages: frozen, validated, fingerprinted.

Values are small (names, digests, settings), never tensors, frames or tokens. A value's
fingerprint decides where its artefact lies in the store, so two equal values share one
artefact and a changed setting never finds an old one.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Value", "canonical_json", "fingerprint"]


class Value(BaseModel):
    """A frozen pydantic model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def canonical_json(value: Value | dict[str, Any] | list[Any]) -> bytes:
    """One byte string for equal values: sorted keys, no spaces, UTF-8."""
    plain = value.model_dump(mode="json") if isinstance(value, Value) else value
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def fingerprint(*values: Value | dict[str, Any]) -> str:
    """The sha256 (64 hex digits) of the values' canonical JSON, in the order given."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(canonical_json(value) + b"\n")
    return digest.hexdigest()
