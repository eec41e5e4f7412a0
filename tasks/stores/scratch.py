"""Folders for child processes, which leave nothing behind for long, not even after kill -9."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.stores.disk import remove_tree

__all__ = ["scratch_folder"]

PREFIX = "expo-scratch-"
STARTING = "expo-starting-"
STARTED_SECONDS = 3600  # age from which a folder that nobody has locked is no longer about to be


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder of this block's own, removed with it; folders of killed processes are removed first.

    A folder is in use for as long as somebody has its lock, which ends with the process, however that ends.
    """
    _remove_abandoned()
    # under another name until it is locked, or it could be taken for abandoned
    starting = Path(tempfile.mkdtemp(prefix=STARTING))
    lock = os.open(starting, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = starting.rename(starting.with_name(PREFIX + starting.name.removeprefix(STARTING)))
        try:
            yield folder
        finally:
            remove_tree(folder, folder.parent)
    finally:
        os.close(lock)


def _remove_abandoned() -> None:
    place = Path(tempfile.gettempdir())
    for folder in (*place.glob(f"{PREFIX}*"), *place.glob(f"{STARTING}*")):
        with suppress(OSError):  # another user's, or removed meanwhile
            if folder.name.startswith(STARTING) and not _is_old(folder):
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder, place)
            finally:
                os.close(lock)


def _is_old(folder: Path) -> bool:
    return time.time() - folder.lstat().st_mtime > STARTED_SECONDS
