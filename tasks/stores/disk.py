"""This machine's disk: digests of files, files that appear whole, room, the cache folder."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.core.names import is_plain_name
from tasks.core.values import fingerprint

__all__ = [
    "cache_folder",
    "check_room",
    "has_digest",
    "inside",
    "is_full",
    "remove_tree",
    "sha256_of",
    "whole_file",
    "write_errors",
]

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_digest(path: Path, size: int, sha256: str) -> bool:
    """Whether a file is there with this content; False where it is not there.

    Hashed once per machine and content: the cache remembers by the file's identity, size and times.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    if status.st_size != size:
        return False
    times = [status.st_mtime_ns, status.st_ctime_ns]
    key = fingerprint({"file": [str(path.resolve()), status.st_dev, status.st_ino, size, *times, sha256]})
    stamp = cache_folder() / "verified" / key
    if stamp.exists():
        return True
    if sha256_of(path) != sha256:
        return False
    with suppress(OSError):  # a cache that cannot be written to costs another hashing
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return True


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; the file appears under its own name when the block ends.

    The place is of this block alone, so two processes may write one file at once. Where the block
    fails nothing stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def inside(folder: Path, name: str) -> Path:
    """The path of a file directly in a folder; every name from outside is joined here.

    Raises:
        CorruptError: the name is a path, hidden, or no name that a file can have.
    """
    if not is_plain_name(name):
        raise CorruptError(f"{folder}: {name[:80]!r} is no name of a file in it; nothing was read or written")
    return folder / name


def remove_tree(folder: Path, within: Path) -> None:
    """Removes a folder that this project made, and its content; links are removed, their targets are not.

    Nothing happens where there is no such folder.

    Raises:
        PermanentError: it is not strictly below `within`, or a link on the way leaves it.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    target, root = folder.resolve(), within.resolve()
    if root not in target.parents:
        raise PermanentError(f"{folder}: not below {within}; nothing was removed")
    shutil.rmtree(target, ignore_errors=True)


def check_room(folder: Path, size: int) -> None:
    """Checks that the disk has room for `size` bytes before any are written.

    Raises:
        PermanentError: fewer are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise PermanentError(
            f"{folder}: {free / 1e6:,.0f} MB are free, {size / 1e6:,.0f} MB are needed; "
            "make room, then run again, or use another disk"
        )


def is_full(error: OSError) -> bool:
    """Whether the system refused a write because the disk is full, or over quota."""
    return error.errno in FULL


@contextmanager
def write_errors(place: Path) -> Iterator[None]:
    """Maps the operating system's write errors to errors of this project; `place` is named in them.

    Raises:
        PermanentError: the disk is full or over quota, or the file too large for the filesystem.
        InputError: this user may not write there.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise PermanentError(f"{place}: the disk is full; make room, then run again") from error
        if error.errno == errno.EFBIG:
            raise PermanentError(f"{place}: no file may be so large here; use smaller shards") from error
        if error.errno in CLOSED:
            reason = os.strerror(error.errno).lower()
            raise InputError(
                f"{place}: nothing can be written there ({reason}); give another place"
            ) from error
        raise


def cache_folder() -> Path:
    """Where this machine keeps what can be fetched or made again: $EXPO_CACHE, or ~/.cache/expo."""
    return Path(os.environ.get("EXPO_CACHE", "~/.cache/expo")).expanduser()
