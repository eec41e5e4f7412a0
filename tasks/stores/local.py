"""An artefact's files in a folder of this machine."""

import errno
import os
import shutil
import stat
from pathlib import Path

from tasks.core.errors import CorruptError
from tasks.stores.disk import inside, sha256_of, write_errors
from tasks.stores.lease import hold_lease

__all__ = ["SCRATCH", "LocalFiles"]

SCRATCH = ".partial"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalFiles:
    """Files of one folder. Each arrives whole, by a rename.

    A killed process leaves no partial file. A power failure may lose files that the system has not
    written back yet, so `create` makes all of them durable before its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, name: str) -> None:
        """Renames a file of the same file system into the folder; raises as `write_errors`."""
        with write_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file.replace(inside(self._folder, name))

    def copy_in(self, file: Path, name: str) -> None:
        """Copies a file, then renames the copy into the folder; raises as `write_errors`."""
        with write_errors(self._folder):
            part = self._part(name)
            shutil.copyfile(file, part)
        self.put(part, name)

    def create(self, content: bytes, name: str) -> bool:
        """Writes a file that must not replace another; False if there is one. All files are durable then."""
        target, part = inside(self._folder, name), None
        try:
            with write_errors(self._folder):
                part = self._part(name)
                part.write_bytes(content)
            for path in (*self._paths(), part, self._folder):
                _make_durable(path)
            # A link, unlike a rename, fails when the name is taken.
            target.hardlink_to(part)
            part.unlink()
        except OSError as error:
            if target.exists():  # another was faster, and may have cleared the scratch folder
                if part is not None:
                    part.unlink(missing_ok=True)
                return False
            if part is None or error.errno not in NO_LINKS:
                raise
            part.replace(target)
        _make_durable(self._folder)
        return True

    def sha256(self, name: str) -> str | None:
        """The digest, computed now; None if there is no file."""
        return sha256_of(inside(self._folder, name)) if self.size(name) is not None else None

    def read(self, name: str) -> bytes | None:
        """The content, None if there is no file."""
        return None if self.size(name) is None else inside(self._folder, name).read_bytes()

    def size(self, name: str) -> int | None:
        """The size in bytes, None if there is nothing of this name.

        Raises:
            CorruptError: it is no regular file.
        """
        path = inside(self._folder, name)
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise CorruptError(f"{path}: not a file; remove it, then run again")
        return status.st_size

    def names(self) -> list[str]:
        """The names of the files, sorted; none where there is no folder."""
        return sorted(path.name for path in self._paths())

    def folders(self) -> list[str]:
        """The names of the folders, sorted; none where there is no folder."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    def remove(self, name: str) -> None:
        """Removes the file, if it is there."""
        inside(self._folder, name).unlink(missing_ok=True)

    def fetch(self, name: str, _folder: Path) -> Path:
        """The file in its place.

        Raises:
            CorruptError: it is missing.
        """
        if self.size(name) is None:
            raise CorruptError(f"{self._folder}: {name} is missing; make the artefact again")
        return inside(self._folder, name)

    def _part(self, name: str) -> Path:
        scratch = self._folder / SCRATCH
        return scratch / f"{name[:60]}.{hold_lease(scratch)}.{os.urandom(4).hex()}"

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
