"""An artefact's files in a folder of this machine."""

import errno
import os
import shutil
from pathlib import Path

from tasks.errors import CorruptError
from tasks.stores.source import sha256_of

__all__ = ["SCRATCH", "LocalFiles"]

SCRATCH = ".partial"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalFiles:
    """Files of one folder. Each arrives whole, by a rename.

    A killed process harms nothing. A loss of power may take files that were put but not yet
    written back by the system, so `create` makes all of them durable before its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, name: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        file.replace(self._folder / name)

    def copy_in(self, file: Path, name: str) -> None:
        part = self._folder / SCRATCH / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
        self.put(part, name)

    def create(self, file: Path, name: str) -> bool:
        """Puts a file that must not replace another; False if there is one. All files are durable then."""
        for path in (*self._paths(), file):
            _make_durable(path)
        _make_durable(self._folder)
        try:
            # A link, unlike a rename, fails when the name is taken.
            (self._folder / name).hardlink_to(file)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if (self._folder / name).exists():
                return False
            file.replace(self._folder / name)
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

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def fetch(self, name: str, _folder: Path) -> Path:
        if self.size(name) is None:
            raise CorruptError(f"{self._folder}: {name} is missing; make the artefact again")
        return self._folder / name

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if path.is_file()]


def _make_durable(path: Path) -> None:
    """Waits until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
