"""Where an artefact's files lie: a folder, an S3 prefix, or a branch of a repository on the Hub."""

from pathlib import Path
from typing import Protocol

from tasks.stores.local import LocalFiles

__all__ = ["Files", "files_at"]


class Files(Protocol):
    """What an artefact needs of the place where its files lie."""

    def put(self, file: Path, name: str) -> None: ...
    def copy_in(self, file: Path, name: str) -> None: ...
    def create(self, content: bytes, name: str) -> bool: ...
    def sha256(self, name: str) -> str | None: ...
    def read(self, name: str) -> bytes | None: ...
    def size(self, name: str) -> int | None: ...
    def names(self) -> list[str]: ...
    def folders(self) -> list[str]: ...
    def remove(self, name: str) -> None: ...
    def fetch(self, name: str, folder: Path) -> Path: ...


def files_at(uri: str) -> Files:
    """The files under `uri` (an absolute path, `s3://…` or `hf://org/name@branch`)."""
    if uri.startswith("hf://"):
        from tasks.stores.hub_files import HubFiles

        return HubFiles(uri)
    if not uri.startswith("s3://"):
        return LocalFiles(Path(uri))
    from tasks.stores.s3 import S3Files

    return S3Files(uri)
