"""The Hub client's cache on this disk: what is in it, whether it is intact, what may go."""

import contextlib
import hashlib
import time
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from pydantic import Field

from tasks.core.values import Value

__all__ = ["PARTIAL", "HubFile", "cached_path", "discard", "is_intact", "remember_intact", "remove_orphans"]

PARTIAL = ".expo.incomplete"  # this project's partial downloads; the client's end in .incomplete alone
OURS_LIVE_S = 7 * 86400.0
ORPHANS_LIVE_S = 3600.0


class HubFile(Value):
    """A file at the top of a repository.

    size     bytes
    sha256   of its content, for files in large-file storage
    blob_id  git's sha1 of its content, for the others
    xet      whether the Hub offers it in chunks, which the client fetches better than ranges
    """

    size: int
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    blob_id: str | None = None
    xet: bool = False

    @property
    def etag(self) -> str | None:
        """What the Hub gives as the file's ETag."""
        return self.sha256 or self.blob_id


def cached_path(uri: str, commit: str, name: str) -> Path | None:
    """Where the cache has the file, None where it has not."""
    path = try_to_load_from_cache(uri, name, revision=commit)
    return Path(path) if isinstance(path, str) else None


_seen_intact: set[tuple[int, int, int, int]] = set()


def _identity(path: Path) -> tuple[int, int, int, int]:
    """Stays the same while the content does, also through a rename."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_intact(path: Path, file: HubFile) -> bool:
    """Whether the content's digest is the stated one; hashed once a process while it stays unchanged."""
    identity = _identity(path)
    if identity not in _seen_intact:
        if path.stat().st_size != file.size or not _digest_matches(path, file):
            return False
        _seen_intact.add(identity)
    return True


def remember_intact(path: Path) -> None:
    """Records that the content was hashed already, as it was downloaded."""
    _seen_intact.add(_identity(path))


def _digest_matches(path: Path, file: HubFile) -> bool:
    digest = hashlib.sha256()
    if file.sha256 is None:
        digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    expected = file.sha256 or file.blob_id
    return expected is None or digest.hexdigest() == expected


def discard(path: Path) -> None:
    """Removes a cached file and the blobs behind its links."""
    if path.is_symlink():
        discard(path.parent / path.readlink())
    path.unlink(missing_ok=True)


def remove_orphans(blobs: Path) -> None:
    """Removes partial files that nobody will continue: the client's, and abandoned ones of this project."""
    now = time.time()
    for orphan in blobs.glob("*.incomplete"):
        lifetime = OURS_LIVE_S if orphan.name.endswith(PARTIAL) else ORPHANS_LIVE_S
        with contextlib.suppress(FileNotFoundError):
            if orphan.stat().st_mtime < now - lifetime:
                orphan.unlink()
