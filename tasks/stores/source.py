"""Sources: where a checkpoint's bytes come from.

    source = open_source("HuggingFaceH4/zephyr-7b-beta")      the Hub, at the head of main
    source = open_source("org/name@v1.0")                     …at a branch, tag or commit
    source = open_source("/models/my-sft")                    a folder of this machine
    source = open_source("s3://bucket/my-sft")                objects directly under a prefix
    source = open_source("demo:aligned")                      the demo's pair, trained if need be
    source = reopen(recipe.aligned)                           what an earlier stage resolved, or an error

A source lists its files, reads ranges (so that headers cost no download) and fetches
whole files. It is opened at one commit, and everything it gives is of that commit.
"""

import hashlib
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.core.values import Value, fingerprint
from tasks.weights.recipe import Checkpoint

__all__ = ["FileInfo", "FolderSource", "Source", "engine_files", "open_source", "reopen", "sha256_of"]

HEADER_BYTES = 64 * 1024
NOT_FOR_ENGINES = (
    *("*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "*.pt", "*.pth"),
    *("consolidated*", "training_args.bin", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.pdf"),
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class FileInfo(Value):
    """A file of a source: its size in bytes, and where the source states them its sha256 and its ETag."""

    size: int
    sha256: str | None = None
    etag: str | None = None


class Source(Protocol):
    """A checkpoint's folder at one commit, wherever it lies."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, pinned: the same uri and commit always give the same bytes."""

    def files(self) -> Mapping[str, FileInfo]:
        """The plain files at the top of the folder, by name."""

    def read(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from offset `start`; fewer only where the file ends."""

    def fetch(self, name: str) -> Path:
        """The whole file on this machine's disk, verified where a digest is known."""

    def folder(self) -> Path:
        """A local folder that holds every file: what an engine loads the model from."""


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
        return self._checkpoint

    def files(self) -> Mapping[str, FileInfo]:
        return self._files

    def read(self, name: str, start: int, length: int) -> bytes:
        with self.fetch(name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def fetch(self, name: str) -> Path:
        if name not in self._files:
            raise CorruptError(f"{self._folder}: no file {name!r} in this folder")
        return self._folder / name

    def folder(self) -> Path:
        return self._folder


def open_source(uri: str, revision: str | None = None) -> Source:
    """Opens a folder, a hub id, an S3 prefix or a demo checkpoint; `revision` is for hub ids.

    A hub id may bring it itself: `org/name@revision`.

    Raises:
        InputError: there is no such folder, hub id, revision or bucket.
        PermanentError: access is not granted, or offline and not in the cache.
        RetryableError: the Hub or the object store is busy or cannot be reached.
    """
    if uri.startswith("demo:"):
        from tasks.demo.checkpoints import checkpoint_folder

        return FolderSource(checkpoint_folder(uri), uri)
    if uri.startswith("s3://"):
        from tasks.stores.s3_source import S3Source

        return S3Source(uri)
    if Path(uri).expanduser().is_dir() or uri.startswith((".", "/", "~")):
        return FolderSource(Path(uri).expanduser())
    uri, _, named = uri.partition("@")
    return _hub_source(uri, revision or named or None)


def reopen(checkpoint: Checkpoint) -> Source:
    """Opens a checkpoint at exactly its commit.

    Raises:
        PermanentError: it is no hub id, and its files have changed since it was resolved.
    """
    pinned = checkpoint.commit if _COMMIT.fullmatch(checkpoint.commit) else None
    source = open_source(checkpoint.uri, pinned)
    if source.checkpoint != checkpoint:
        raise PermanentError(
            f"{checkpoint.uri}: its files have changed since this run was planned "
            f"(was {checkpoint.commit}, is {source.checkpoint.commit}); start the run again"
        )
    return source


def engine_files(names: list[str]) -> list[str]:
    """Those of the names that an engine loads: one form of the weights (safetensors first), no archives."""
    skipped = list(NOT_FOR_ENGINES)
    if any(fnmatch(name, "model*.safetensors") for name in names):
        skipped += ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]


def sha256_of(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_opened: dict[tuple[str, str], Source] = {}


def _hub_source(uri: str, revision: str | None) -> Source:
    """Stages open the same commit again and again: one listing serves them all."""
    if revision and (uri, revision) in _opened:
        return _opened[uri, revision]
    from tasks.stores.hub import HubSource

    source = HubSource(uri, revision)
    return _opened.setdefault((uri, source.checkpoint.commit), source)


def _plain_files(folder: Path) -> dict[str, FileInfo]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and _stays(entry, folder))
    return {name: FileInfo(size=(folder / name).stat().st_size) for name in names}


def _stays(entry: Path, folder: Path) -> bool:
    """Whether a file lies in its folder, or in the Hub client's cache that the folder is a view of.

    A checkpoint of a stranger could otherwise have any file of this machine copied and published.

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
