"""A file of lines that only grows, and that one process at a time writes: what journals are made of.

    with AppendFile(path, busy="another engine is writing here") as file:
        for line in file.lines: …
        file.append(b'{"batch": 0}')

A line is whole exactly when its line feed is there. What a kill leaves behind it is cut off when
the file is opened, and an appended line is on the disk when `append` returns.
"""

import fcntl
import os
from pathlib import Path
from threading import Lock
from typing import Self

from tasks.core.errors import RetryableError

__all__ = ["PRIVATE", "AppendFile"]

PRIVATE = 0o600
"""The mode of new files that may hold prompts and answers: for their owner alone."""


class AppendFile:
    """Holds the file locked until it is closed; `append` is safe for threads."""

    def __init__(self, path: Path, *, busy: str) -> None:
        """Opens the file, makes it if need be, and cuts off a torn last line.

        Raises:
            RetryableError: another process holds it; the message says `busy`.
        """
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE), "a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RetryableError(f"{path}: {busy}; wait for its end") from None
        self._file.seek(0)
        *lines, torn = self._file.read().split(b"\n")
        self._lines = tuple(lines)
        self._file.truncate(self._file.tell() - len(torn))
        self._writing, self._syncing = Lock(), Lock()
        self._written = self._synced = 0  # lines that were appended, and those of them that are on the disk

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The whole lines that were there when the file was opened, without their line feeds."""
        return self._lines

    def append(self, line: bytes) -> None:
        """Adds a line (without a line feed in it); when this returns it is on the disk.

        Lines that other threads add while the disk is busy go to it together, so that many writers
        do not wait for one flush each.
        """
        with self._writing:
            self._file.write(line + b"\n")
            self._file.flush()
            self._written = number = self._written + 1
        with self._syncing:
            if self._synced < number:
                written = self._written
                os.fsync(self._file.fileno())
                self._synced = written

    def keep(self, count: int) -> None:
        """Cuts off all but the first `count` of the `lines`."""
        self._lines = self._lines[:count]
        self._file.truncate(sum(len(line) + 1 for line in self._lines))

    def close(self) -> None:
        """Lets another process write."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
