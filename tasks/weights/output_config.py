"""What becomes of the aligned side's config.json in an output: the only file that ever changes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.weights.fp8 import QUANTIZATION
from tasks.weights.recipe import Recipe

__all__ = ["changed_config", "config_changes"]

DTYPES = ("dtype", "torch_dtype")


def config_changes(recipe: Recipe, config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that `changed_config` changes."""
    if recipe.stated_dtype and any(True for _ in _other_dtypes(config, recipe.stated_dtype)):
        yield f"config.json: its dtype is set to {recipe.stated_dtype}, so that the model loads as written"
    if recipe.dequantize and (named := [name for name in QUANTIZATION if name in config]):
        yield f"config.json: {' and '.join(named)} is removed, since the output is not quantized"


def changed_config(recipe: Recipe, content: bytes) -> bytes | None:
    """config.json with the output's dtype and without what it is not any more; None: it stays.

    transformers loads the weights in the dtype that the config states, whatever they are stored as.
    """
    config = json.loads(content)
    if not any(True for _ in config_changes(recipe, config)):
        return None
    for part, field in list(_other_dtypes(config, recipe.stated_dtype)):
        part[field] = recipe.stated_dtype
    if recipe.dequantize:
        config = {name: value for name, value in config.items() if name not in QUANTIZATION}
    return json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n"


def _other_dtypes(config: Mapping[str, Any], dtype: str | None) -> Iterator[tuple[Any, str]]:
    """(section, field) of each statement of another dtype."""
    for part in (config, config.get("text_config")):
        for field in DTYPES:
            if dtype and isinstance(part, dict) and part.get(field) not in (None, dtype):
                yield part, field
