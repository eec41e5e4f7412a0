"""Code that a checkpoint brings: only from its own folder, which lies at a pinned commit."""

import json
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError

__all__ = ["require_own_code"]

FILES = ("config.json", "tokenizer_config.json")


def require_own_code(folder: Path) -> None:
    """Refuses a checkpoint whose config takes code from another repository.

    transformers would fetch "org/name--module.Class" at the head of that repository's main
    branch, whatever commit the checkpoint is pinned to.

    Raises:
        InputError: naming the file and the reference.
    """
    for name in FILES:
        for reference in _references(folder / name):
            if "--" in reference:
                raise InputError(
                    f"{folder / name}: its code comes from another repository ({reference}), which no commit "
                    "pins; put that repository's Python files into a copy of the checkpoint, and name them "
                    "in auto_map without the part before --"
                )


def _references(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error}); fetch the file again") from error
    named = content.get("auto_map") if isinstance(content, dict) else None
    values = list(named.values()) if isinstance(named, dict) else [named]
    flat = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [name for name in flat if isinstance(name, str)]
