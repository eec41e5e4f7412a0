"""The journal of a judging: each answer of the judge on disk before it is used.

    {"choice": {"message": …, "logprobs": …}, "key": "5f0e…", "usage": {…}}     one line an answer
    {"choice": {"mess                                                           a torn line: cut off

The key is the sha256 of the request (model, messages, sampling): a question whose answer is
there is not asked again, whoever asks. Killed at any moment, only the requests in flight are
paid for again.
"""

import json
import threading
from pathlib import Path
from typing import Any, Self, cast

from tasks.benchmarks.budget import Usage
from tasks.core.append_file import AppendFile
from tasks.core.values import canonical_json

__all__ = ["JOURNAL", "Choice", "Journal"]

JOURNAL = "journal.jsonl"

Choice = dict[str, Any]


class Journal:
    """An append-only file of answers that one process at a time holds open; safe for threads.

    `usage` counts every answer in it, those that were asked for again included.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, makes it if need be, and cuts off a torn last line.

        Raises:
            RetryableError: another process is writing this journal.
        """
        self._lock = threading.Lock()
        self._file = AppendFile(path, busy="another process is judging here")
        self._answers: dict[str, Choice] = {}
        self.usage = Usage()
        for line in self._file.lines:
            if entry := _entry(line):
                self._take(entry)

    def get(self, key: str) -> Choice | None:
        """The last answer to a request, None if there is none."""
        return self._answers.get(key)

    def add(self, key: str, choice: Choice, usage: Usage) -> Choice:
        """Keeps an answer; when this returns it is on the disk.

        Returns it as a restart would find it, so that both write the same bytes.
        """
        entry = {"key": key, "choice": choice, "usage": usage.model_dump()}
        line = canonical_json(entry)
        self._file.append(line)
        taken = json.loads(line)
        with self._lock:
            self._take(taken)
        return cast(Choice, taken["choice"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take(self, entry: dict[str, Any]) -> None:
        self._answers[entry["key"]] = entry["choice"]
        self.usage += Usage(**entry["usage"])


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line's entry, None where the line is damaged: its question is asked again."""
    try:
        entry = json.loads(line)
        Usage.model_validate(entry["usage"])
        whole = isinstance(entry["key"], str) and isinstance(entry["choice"], dict)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if whole else None
