"""A checkpoint in a folder of this machine."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import fingerprint
from tasks.stores.source import Checkpoint, FileInfo

__all__ = ["FolderSource"]

HEADER_BYTES = 64 * 1024


class FolderSource:
    """A folder of this machine. Nothing is copied: `fetch` gives the file in its place.

    `uri` is what the checkpoint is called when that is not the folder's path (the demo's pair).

    Raises:
        InputError: there is no such folder, it cannot be read, or a link in it leaves it.
    """

    def __init__(self, folder: Path, uri: str | None = None) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give a folder or a hub id (org/name)")
        self._folder = folder.resolve()
        try:
            self._files = _plain_files(self._folder)
            commit = _folder_commit(self._folder, self._files)
        except PermissionError as error:
            raise InputError(f"{error.filename}: it may not be read by this user; change its mode") from error
        self._checkpoint = Checkpoint(uri=uri or str(self._folder), commit=commit)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint at its commit."""
        return self._checkpoint

    def files(self) -> Mapping[str, FileInfo]:
        """The files at the top, by name."""
        return self._files

    def folders(self) -> tuple[str, ...]:
        """The names of the folders, hidden ones left out."""
        entries = self._folder.iterdir()
        return tuple(sorted(p.name for p in entries if p.is_dir() and not p.name.startswith(".")))

    def read(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from offset `start`; fewer only where the file ends."""
        with self.fetch(name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def fetch(self, name: str) -> Path:
        """The file in its place.

        Raises:
            CorruptError: there is no such file.
        """
        if name not in self._files:
            raise CorruptError(f"{self._folder}: no file {name!r} in this folder")
        return self._folder / name

    def folder(self) -> Path:
        """The folder itself."""
        return self._folder


def _plain_files(folder: Path) -> dict[str, FileInfo]:
    names = sorted(entry.name for entry in folder.iterdir() if _is_file(entry) and _stays(entry, folder))
    return {name: FileInfo(size=(folder / name).stat().st_size) for name in names}


def _is_file(entry: Path) -> bool:
    """Whether an entry is a file, not a folder.

    Raises:
        InputError: it is neither: a link to nothing, or a pipe that nobody may ever write to.
    """
    if entry.is_file() or entry.is_dir() or entry.name.startswith("."):
        return entry.is_file()
    if entry.is_symlink():
        raise InputError(
            f"{entry}: a link to {entry.readlink()}, which is not there; fetch the checkpoint again"
        )
    raise InputError(f"{entry}: neither a file nor a folder; remove it")


def _stays(entry: Path, folder: Path) -> bool:
    """Whether a file lies in its folder, or in the Hub client's cache that the folder is a view of.

    Otherwise a downloaded checkpoint could have any file of this machine copied and published.

    Raises:
        InputError: it is a link to somewhere else.
    """
    target = entry.resolve()
    blobs = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else folder
    if not (target.is_relative_to(folder) or target.is_relative_to(blobs)):
        raise InputError(f"{entry}: a link to {target}, outside of the folder; copy that file to its place")
    return True


def _folder_commit(folder: Path, files: Mapping[str, FileInfo]) -> str:
    """Sizes, times and first bytes: a whole checkpoint is too much to hash before a plan."""
    listing = {}
    for name, info in files.items():
        with (folder / name).open("rb") as file:
            head = hashlib.sha256(file.read(HEADER_BYTES)).hexdigest()
        listing[name] = [info.size, (folder / name).stat().st_mtime_ns, head]
    return f"local-{fingerprint(listing)[:40]}"
