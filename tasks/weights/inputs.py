"""The input files of a shard: open once, read by several threads at any place."""

import os
from collections.abc import Iterable
from types import TracebackType

from tasks.errors import CorruptError
from tasks.stores.source import Source

__all__ = ["Inputs"]


class Inputs:
    """The open weight files of one checkpoint."""

    def __init__(self, source: Source, files: Iterable[str]) -> None:
        self._paths = {file: source.fetch(file) for file in files}
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> "Inputs":
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
