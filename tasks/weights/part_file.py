"""An output file in the making: written past the page cache where the filesystem allows, hashed in order."""

import errno
import hashlib
import os
from pathlib import Path
from types import TracebackType

from tasks.stores.disk import write_errors

__all__ = ["PartFile"]

# Direct writes begin and end at multiples of the disk's block; no disk has larger ones.
BLOCK_BYTES = 4096


class PartFile:
    """A file of known size. `write` may be called by several threads at once, `hash` in order.

    Writing direct keeps gigabytes that nobody reads soon out of the page cache: it is several
    times faster than filling and flushing that cache, and leaves it to the inputs.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        with write_errors(path):
            self._plain = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._direct = _open_direct(path)
        self._open = [descriptor for descriptor in (self._plain, self._direct) if descriptor is not None]
        # A file that has its size lets the filesystem take direct writes side by side.
        with write_errors(path):
            os.ftruncate(self._plain, size)

    def write(self, content: memoryview, offset: int) -> None:
        """Writes a page-aligned buffer at an offset that is a multiple of the block.

        Raises:
            PermanentError: the disk is full, or over quota.
        """
        with write_errors(self._path):
            if self._direct is None or len(content) % BLOCK_BYTES or not self._write_direct(content, offset):
                _write_all(self._plain, content, offset)

    def hash(self, content: memoryview) -> None:
        """Adds the next bytes of the file to its digest."""
        self._digest.update(content)

    def finish(self) -> str:
        """Puts the bytes on the disk; returns the sha256 of the file."""
        with write_errors(self._path):
            os.fsync(self._plain)
        return self._digest.hexdigest()

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file; one that failed is removed, since it may be large."""
        while self._open:
            os.close(self._open.pop())
        if error is not None:
            self._path.unlink(missing_ok=True)

    def _write_direct(self, content: memoryview, offset: int) -> bool:
        assert self._direct is not None
        try:
            written = os.pwrite(self._direct, content, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False  # the filesystem opened the file but takes no direct writes, or no such block
        return written == len(content)


def _open_direct(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except (AttributeError, OSError):  # not Linux, or a filesystem without direct writes
        return None


def _write_all(descriptor: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
