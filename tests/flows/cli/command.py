"""How a run of the `expo` command is written down and how it ended."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Arguments", "Command", "Done"]

Arguments = list[str | Path]


class Done(NamedTuple):
    """How the command ended."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]
