"""One large file from range requests: several in flight, resumed where a killed process stopped."""

import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tasks.stores.disk import check_room, write_errors

__all__ = ["download", "download_verified", "in_order", "only_writer"]

RANGE_BYTES = 16 * 1024**2
TRIES = 2
RANGES_AT_ONCE = 4  # so a download holds at most 80 MB: these, and the one being written

ReadRange = Callable[[int, int], bytes]


def download(part: BinaryIO, size: int, read_range: ReadRange) -> str:
    """Fills `part` up to `size` bytes, behind what is there already; gives the whole's sha256.

    `read_range(start, length)` gives exactly that many bytes and is called by several threads.
    The bytes are written in order, so the file's length says how far an earlier try came.

    Raises:
        PermanentError: the disk has no space for it.
        ExpoError: whatever `read_range` raises; what was fetched until then stays.
    """
    digest = hashlib.sha256()
    part.truncate(min(part.seek(0, os.SEEK_END), size))
    part.seek(0)
    while block := part.read(1 << 20):
        digest.update(block)
    folder = Path(part.name).parent
    check_room(folder, size - part.tell())
    with write_errors(folder):
        for content in in_order(read_range, part.tell(), size):
            part.write(content)
            digest.update(content)
        part.flush()
    return digest.hexdigest()


def download_verified(part: BinaryIO, size: int, read_range: ReadRange, sha256: str | None) -> bool:
    """As `download`; False if the digest is not `sha256` (None: any is right) even when begun again.

    A partial file may be of another version, or damaged: that is why it is begun again once.
    """
    for _ in range(TRIES):
        if download(part, size, read_range) == sha256 or sha256 is None:
            return True
        part.truncate(0)
    return False


@contextmanager
def only_writer(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, made if need be, once no other process or thread works on it.

    The lock is on the file itself, goes with it when it is renamed, and ends with its process.
    Where a file system ignores locks, two writers write equal bytes at equal places.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "r+b", opener=_open_or_create) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):  # else the one before renamed or removed it meanwhile
                yield file
                return


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def in_order(read_range: ReadRange, start: int, stop: int) -> Iterator[bytes]:
    """The ranges from start to stop in order, the next ones being fetched meanwhile."""
    running: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(RANGES_AT_ONCE) as pool:
        try:
            for at in range(start, stop, RANGE_BYTES):
                if len(running) == RANGES_AT_ONCE:
                    yield running.popleft().result()
                running.append(pool.submit(read_range, at, min(RANGE_BYTES, stop - at)))
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
