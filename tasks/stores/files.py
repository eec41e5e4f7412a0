"""Where an artefact's files lie: a folder, an S3 prefix, or a branch of a repository on the Hub."""

from pathlib import Path
from typing import Protocol

from tasks.stores.local import LocalFiles

__all__ = ["Files", "files_at"]


class Files(Protocol):
    """The operations that an artefact needs of the place where its files lie."""

    def put(self, file: Path, name: str) -> None:
        """Moves a local file into the place under `name`, replacing an older one."""

    def copy_in(self, file: Path, name: str) -> None:
        """Copies a local file, which stays, into the place under `name`."""

    def create(self, content: bytes, name: str) -> bool:
        """Writes a file that must not replace another; False, and no change, if there is one."""

    def sha256(self, name: str) -> str | None:
        """The file's digest, 64 hex digits; None if it is not there or has no known digest."""

    def read(self, name: str) -> bytes | None:
        """A small file's content, None if there is none."""

    def size(self, name: str) -> int | None:
        """The file's size in bytes, None if there is none."""

    def names(self) -> list[str]:
        """The names of the files, sorted, without scratch files."""

    def folders(self) -> list[str]:
        """The names of the folders, sorted."""

    def remove(self, name: str) -> None:
        """Removes the file, if it is there."""

    def fetch(self, name: str, folder: Path) -> Path:
        """The file on this machine's disk: in its place, else a verified copy in `folder`."""


def files_at(uri: str) -> Files:
    """The files under `uri` (an absolute path, `s3://…` or `hf://org/name@branch`)."""
    if uri.startswith("hf://"):
        from tasks.stores.hub_files import HubFiles

        return HubFiles(uri)
    if not uri.startswith("s3://"):
        return LocalFiles(Path(uri))
    from tasks.stores.s3 import S3Files

    return S3Files(uri)
