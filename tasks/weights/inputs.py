"""The input files of a shard: open once, read by several threads at any place.

From files on this machine's disk (`Inputs`), or straight from where they lie
(`tasks.weights.streaming`).
"""

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from tasks.core.errors import CorruptError
from tasks.stores.source import Source
from tasks.weights.options import InputMode
from tasks.weights.receipts import Check

__all__ = ["InputMode", "Inputs", "Reader"]


class Reader(Protocol):
    """What a pass needs of one checkpoint's weight files."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read_into(self, buffer: memoryview, file: str, offset: int) -> None:
        """Fills the buffer with the file's bytes from `offset` on."""

    def check(self, file: str) -> Check:
        """What was compared of a file with what its source states; called when all was read."""


class Inputs:
    """The open weight files of one checkpoint, fetched and verified where they are not local."""

    def __init__(self, source: Source, files: Iterable[str]) -> None:
        self._source = source
        self._paths = {file: source.fetch(file) for file in files}
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> Self:
        for file, path in self._paths.items():
            self._descriptors[file] = os.open(path, os.O_RDONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def read_into(self, buffer: memoryview, file: str, offset: int) -> None:
        """Fills the buffer with the file's bytes from `offset` on.

        Raises:
            CorruptError: the file ends before the buffer is full.
        """
        while buffer:
            count = os.preadv(self._descriptors[file], [buffer], offset)
            if count == 0:
                path = self._paths[file]
                raise CorruptError(f"{path}: ends at byte {offset}, within a tensor; fetch it again")
            buffer, offset = buffer[count:], offset + count

    def check(self, file: str) -> Check:
        """`fetch` has compared the sha256 where the source states one."""
        info = self._source.files()[file]
        if info.sha256:
            return "sha256"
        return "size and etag" if info.etag else "none"
