"""Answers to judge, and a look into files of them."""

import json
from pathlib import Path
from typing import Any

SHORT = [f"short {index}" for index in range(30)]
LONG = [f"a much longer answer {index}" for index in range(30)]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of answers or annotations."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows
