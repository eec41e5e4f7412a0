"""An artefact's files in a folder of this machine."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.stores.source import sha256_of

__all__ = ["SCRATCH", "LocalFiles", "cache_folder", "write_errors"]

SCRATCH = ".partial"
FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalFiles:
    """Files of one folder. Each arrives whole, by a rename.

    A killed process harms nothing. A loss of power may take files that were put but not yet
    written back by the system, so `create` makes all of them durable before its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, name: str) -> None:
        with write_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file.replace(self._folder / name)

    def copy_in(self, file: Path, name: str) -> None:
        with write_errors(self._folder):
            part = self._part(name)
            shutil.copyfile(file, part)
        self.put(part, name)

    def create(self, content: bytes, name: str) -> bool:
        """Writes a file that must not replace another; False if there is one. All files are durable then."""
        target = self._folder / name
        try:
            with write_errors(self._folder):
                part = self._part(name)
                part.write_bytes(content)
            for path in (*self._paths(), part, self._folder):
                _make_durable(path)
            # A link, unlike a rename, fails when the name is taken.
            target.hardlink_to(part)
        except OSError as error:
            if target.exists():  # another was faster, and may have cleared the scratch folder
                return False
            if error.errno not in NO_LINKS:
                raise
            part.replace(target)
        _make_durable(self._folder)
        return True

    def sha256(self, name: str) -> str | None:
        return sha256_of(self._folder / name) if self.size(name) is not None else None

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        return sorted(path.name for path in self._paths())

    def folders(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def fetch(self, name: str, _folder: Path) -> Path:
        if self.size(name) is None:
            raise CorruptError(f"{self._folder}: {name} is missing; make the artefact again")
        return self._folder / name

    def _part(self, name: str) -> Path:
        scratch = self._folder / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        return scratch / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if path.is_file()]


@contextmanager
def write_errors(place: Path) -> Iterator[None]:
    """Tells what the system says about writes to a place as errors of this project.

    Raises:
        PermanentError: the disk is full or over quota, or the file too large for the filesystem.
        InputError: this user may not write there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
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


def _make_durable(path: Path) -> None:
    """Waits until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
