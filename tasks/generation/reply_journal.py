"""Every reply of an endpoint on disk before anything is made of it: it was paid for.

    {"body": "{\\"id\\": …}", "key": "5f0e…"}      one line a reply, as it came

The key is the sha256 of the request. A batch that was cut short asks only for what is not here.
"""

import json
from pathlib import Path
from typing import Self

from tasks.core.append_file import AppendFile
from tasks.core.values import canonical_json

__all__ = ["REPLIES", "ReplyJournal"]

REPLIES = "replies.jsonl"


class ReplyJournal:
    """An append-only file that one process at a time holds open; safe for threads."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder's journal, and makes it if need be.

        Raises:
            RetryableError: another process is writing it.
        """
        self._file = AppendFile(folder / REPLIES, busy="another process is asking here")
        self._bodies: dict[str, str] = {}
        for line in self._file.lines:
            self._bodies.update(_entry(line))

    def get(self, key: str) -> str | None:
        """The last reply to a request, None if there is none."""
        return self._bodies.get(key)

    def add(self, key: str, body: str) -> None:
        """Keeps a reply; when this returns it is on the disk."""
        self._file.append(canonical_json({"key": key, "body": body}))
        self._bodies[key] = body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _entry(line: bytes) -> dict[str, str]:
    """A line's key and reply; nothing where the line is damaged: that is asked again."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(entry, dict):
        return {}
    key, body = entry.get("key"), entry.get("body")
    return {key: body} if isinstance(key, str) and isinstance(body, str) else {}
