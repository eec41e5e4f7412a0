"""A checkpoint under an S3 prefix: `s3://bucket/folder`, read by ranges or fetched to the cache."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import fingerprint
from tasks.stores.disk import cache_folder
from tasks.stores.s3 import S3Files
from tasks.stores.source import Checkpoint, FileInfo, engine_files

__all__ = ["S3Source"]


class S3Source:
    """The objects directly under a prefix. Their sizes and ETags stand for the commit.

    A file's sha256 is known, and its copy verified, if it was uploaded with one (as every model
    of a store is).

    Raises:
        InputError: no such bucket, or nothing under the prefix.
        PermanentError, RetryableError: as `S3Files`.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._objects = S3Files(self._uri)
        self._listed = self._objects.listing()
        if not self._listed:
            raise InputError(f"{uri}: nothing there; check the uri of the checkpoint's folder")
        commit = f"s3-{fingerprint({'files': self._listed})[:40]}"
        self._checkpoint = Checkpoint(uri=self._uri, commit=commit)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint at its commit."""
        return self._checkpoint

    def files(self) -> Mapping[str, FileInfo]:
        """The files at the top, by name."""
        return self._files

    @cached_property
    def _files(self) -> dict[str, FileInfo]:
        return {
            name: FileInfo(size=size, sha256=self._objects.sha256(name), etag=etag)
            for name, (size, etag) in self._listed.items()
        }

    def folders(self) -> tuple[str, ...]:
        """The names of the folders, hidden ones left out."""
        return tuple(self._objects.folders())

    def read(self, name: str, start: int, length: int) -> bytes:
        """A range, of the very object that was listed; the request is repeated by itself when it fails."""
        length = min(length, self._size(name) - start)
        return self._objects.read_range(name, start, length, self._listed[name][1]) if length > 0 else b""

    def fetch(self, name: str) -> Path:
        """A verified copy in the cache folder.

        Raises:
            CorruptError: there is no such object, or its content is not what was uploaded.
        """
        self._size(name)
        return self._objects.fetch(name, cache_folder() / "s3" / fingerprint(self._checkpoint)[:16])

    def folder(self) -> Path:
        """A folder of the cache with every file that an engine needs, verified.

        Raises:
            CorruptError: there are none.
        """
        paths = [self.fetch(name) for name in engine_files(list(self._listed))]
        if not paths:
            raise CorruptError(f"{self._uri}: no files for an engine under this prefix")
        return paths[0].parent

    def _size(self, name: str) -> int:
        if name not in self._listed:
            raise CorruptError(f"{self._uri}: no file {name!r} under this prefix")
        return self._listed[name][0]
