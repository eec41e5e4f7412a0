"""Leases: which folders of this machine a live process writes to.

A lease is a file that its process holds locked. The lock ends with the process, however that ends,
so no clock is needed. On a file system without locks there are no leases, and only age decides.
"""

import atexit
import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from tasks.stores.disk import write_errors

__all__ = ["SUFFIX", "hold_lease", "is_leased", "live_leases", "release_lease"]

SUFFIX = ".lease"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

_held: dict[tuple[int, Path], tuple[str, BinaryIO]] = {}  # by process, since a forked child is another
_lock = Lock()


def hold_lease(folder: Path) -> str:
    """Marks a folder, made if need be, as in use until this process ends; gives the lease's id.

    Raises:
        PermanentError, InputError: as `write_errors`.
    """
    with _lock:
        id_, file = _held.get((os.getpid(), folder), ("", None))
        if file is not None and _is_at(file, folder / f"{id_}{SUFFIX}"):
            return id_
        if file is not None:
            file.close()  # somebody has removed it
        id_ = f"{os.getpid()}-{os.urandom(4).hex()}"
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / f"{id_}{SUFFIX}").open("wb")
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[os.getpid(), folder] = id_, file
        return id_


def release_lease(folder: Path) -> None:
    """Releases this process's lease on a folder, if it holds one."""
    with _lock:
        id_, file = _held.pop((os.getpid(), folder), ("", None))
        if file is not None:
            (folder / f"{id_}{SUFFIX}").unlink(missing_ok=True)
            file.close()


def live_leases(folder: Path) -> frozenset[str]:
    """The ids of the leases on a folder whose processes live, this one's among them."""
    leases = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    return frozenset(path.name.removesuffix(SUFFIX) for path in leases if is_leased(path))


def is_leased(path: Path) -> bool:
    """Whether a live process holds this file locked, or a lease somewhere below this folder."""
    if path.is_dir() and not path.is_symlink():
        return any(is_leased(lease) for lease in path.rglob(f"*{SUFFIX}"))
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in NO_LOCKS or isinstance(error, FileNotFoundError | PermissionError):
            return False
        raise
    return False


@atexit.register
def _close_all() -> None:
    """The locks end with the process anyway; an open file at its end is a warning."""
    for _, file in _held.values():
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
