"""What a source of bytes is: the protocol, and the values that it gives.

A source lists its files, reads ranges (so that headers cost no download) and fetches
whole files. It is opened at one commit, and everything it gives is of that commit.
`tasks.stores.open` opens one.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from tasks.core.values import Value

__all__ = ["Checkpoint", "FileInfo", "Source", "engine_files", "is_hub_commit"]

NOT_FOR_ENGINES = (
    *("*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "*.pt", "*.pth"),
    *("consolidated*", "training_args.bin", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.pdf"),
)
_HUB_COMMIT = re.compile(r"[0-9a-f]{40}")


class Checkpoint(Value):
    """A checkpoint at one moment: where it lies and which commit of it.

    uri     a hub id (`org/name`), an absolute folder, `s3://…`, or a provider's (`demo:aligned`)
    commit  the hub's commit sha (40 hex digits); for a folder `local-` and a digest of its
            listing and headers, so that an edited folder is another checkpoint
    """

    uri: str
    commit: str


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

    def folders(self) -> tuple[str, ...]:
        """The names of the folders in the checkpoint's folder, hidden ones left out; nothing reads them."""

    def read(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from offset `start`; fewer only where the file ends."""

    def fetch(self, name: str) -> Path:
        """The whole file on this machine's disk, verified where a digest is known."""

    def folder(self) -> Path:
        """A local folder that holds every file: what an engine loads the model from."""


def engine_files(names: list[str]) -> list[str]:
    """Those of the names that an engine loads: one form of the weights (safetensors first), no archives."""
    skipped = list(NOT_FOR_ENGINES)
    if any(fnmatch(name, "model*.safetensors") for name in names):
        skipped += ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]


def is_hub_commit(commit: str) -> bool:
    """Whether a checkpoint's commit is one of the Hub's, not the digest of a folder or a prefix."""
    return _HUB_COMMIT.fullmatch(commit) is not None
