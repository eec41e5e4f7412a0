"""The base of every value that travels between stages: frozen, validated, fingerprinted.

Values are small (names, digests, settings), never tensors, frames or tokens. A value's
fingerprint decides where its artefact lies in the store, so two equal values share one
artefact and a changed setting never finds an old one.
"""

import hashlib
import json
import re
from inspect import getdoc
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["Value", "canonical_json", "fingerprint"]

FIELD_ROW = re.compile(r"^(\w+(?:, \w+)*) {2,}(\S.*(?:\n +\S.*)*)$", re.MULTILINE)


class Value(BaseModel):
    """A frozen pydantic model that refuses fields it does not know.

    The rows of its docstring, "name  what it means", describe the fields in its JSON schema too, where
    the forms of Prefect's UI find them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The JSON schema, with the descriptions of the docstring."""
        schema = handler(core_schema)
        content = handler.resolve_ref_schema(schema)
        text = getdoc(cls) or ""
        properties = content.get("properties", {})
        for names, row in FIELD_ROW.findall(text):
            meaning = " ".join(row.split())
            for field in names.split(", "):
                if field in cls.model_fields:
                    shown = properties.get(_schema_name(field, cls.model_fields[field]), {})
                    shown.setdefault("description", meaning[:1].upper() + meaning[1:])
        content["description"] = FIELD_ROW.sub("", text).strip()
        return schema


def _schema_name(name: str, field: FieldInfo) -> str:
    """The name of a field in the JSON schema, which is its alias if it has one."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias or name)


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
