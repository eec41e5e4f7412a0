"""A checkpoint on the Hugging Face Hub, at one commit, with every file verified.

The client that does the transfers neither verifies what it fetched nor refuses a cache that
lacks files. Both are supplied here: a fetched file's sha256 (the git blob id for small files)
is compared with what the Hub states, a bad file is fetched once more and then refused.
Files lie in the user's own cache (HF_HOME), so what is there already is not fetched again.
"""

import hashlib
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from huggingface_hub import (
    HfApi,
    get_cached_repo_tree,
    hf_hub_download,
    hf_hub_url,
    hf_raise_for_status,
    is_offline_mode,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, http_backoff  # type: ignore[attr-defined]
from tasks.errors import CorruptError, PermanentError, RetryableError
from tasks.stores.hub_errors import hub_errors
from tasks.stores.source import FileInfo
from tasks.values import Value
from tasks.weights.recipe import Checkpoint

__all__ = ["HubSource", "engine_files"]

# They would break into the program's own; HF_HUB_DISABLE_PROGRESS_BARS=0 brings them back.
disable_progress_bars()

TIMEOUT_S = 30.0
FETCHES_AT_ONCE = 4
NOT_FOR_ENGINES = (
    *("*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite", "*.pt", "*.pth"),
    *("consolidated*", "training_args.bin", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.pdf"),
)


class _Entry(Value):
    """A file of the listing: bytes, and its sha256 (LFS) or git blob id (others)."""

    size: int
    sha256: str | None = None
    blob_id: str | None = None


class HubSource:
    """A repository of the Hub at one commit. Safe for threads.

    Raises:
        InputError: no such repository or revision.
        PermanentError: access is not granted, or offline and not in the cache.
        RetryableError: the Hub is busy or cannot be reached.
    """

    def __init__(self, uri: str, revision: str | None = None) -> None:
        self._uri = uri
        with hub_errors(f"{uri}@{revision}" if revision else uri):
            read_listing = _cached_listing if is_offline_mode() else _hub_listing
            self._commit, self._entries = read_listing(uri, revision)
        self._files = {name: FileInfo(size=e.size, sha256=e.sha256) for name, e in self._entries.items()}

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(uri=self._uri, commit=self._commit)

    def files(self) -> Mapping[str, FileInfo]:
        return self._files

    def read(self, name: str, start: int, length: int) -> bytes:
        """A range of a file; from the cache if it is there, else one request for just that range."""
        entry = self._entry(name)
        if entry.sha256 is None:  # a small file: fetched whole it can be verified
            return _read_file(self.fetch(name), start, length)
        if (cached := self._cached(name)) is not None:
            return _read_file(cached, start, length)
        stop = min(start + length, entry.size)
        return self._request_range(name, start, stop) if stop > start else b""

    def fetch(self, name: str) -> Path:
        """The file in the cache, downloaded if need be, its digest compared with the Hub's.

        Raises:
            CorruptError: the digest was wrong twice (or once, offline).
        """
        entry = self._entry(name)
        with _lock(self._uri, self._commit, name):
            path = self._download(name)
            if not _verified(path, entry) and not is_offline_mode():
                _discard(path)
                path = self._download(name)
            if not _verified(path, entry):
                _discard(path)
                raise CorruptError(
                    f"{self._where(name)}: its digest is not the one that the Hub states; the cached file "
                    "was removed: try again later, or tell the repository's owner"
                )
        return path

    def folder(self) -> Path:
        """The snapshot folder in the cache with every file that an engine needs, verified."""
        names = engine_files(list(self._files))
        if is_offline_mode() and (missing := [name for name in names if self._cached(name) is None]):
            raise PermanentError(
                f"{self._where()}: offline, and the cache lacks {', '.join(missing)}; "
                "run once without HF_HUB_OFFLINE=1"
            )
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
            paths = list(pool.map(self.fetch, names))
        if not paths:
            raise CorruptError(f"{self._where()}: no files for an engine in this repository")
        return paths[0].parent

    def _where(self, name: str = "") -> str:
        return f"{self._uri}@{self._commit[:12]}" + (f" {name}" if name else "")

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise CorruptError(f"{self._where()}: no file {name!r} at the top of this repository")
        return self._entries[name]

    def _cached(self, name: str) -> Path | None:
        return _cached_path(self._uri, self._commit, name)

    def _download(self, name: str) -> Path:
        with hub_errors(self._where(name)):
            path = hf_hub_download(self._uri, name, revision=self._commit, etag_timeout=TIMEOUT_S)
        return Path(path)

    def _request_range(self, name: str, start: int, stop: int) -> bytes:
        # Without "identity" a compressing proxy would ignore the range.
        asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        with hub_errors(self._where(name)):
            url = hf_hub_url(self._uri, name, revision=self._commit)
            response = http_backoff("GET", url, headers=build_hf_headers() | asked, timeout=TIMEOUT_S)
            hf_raise_for_status(response)
        content: bytes = response.content
        if response.status_code == 200:
            content = content[start:stop]
        if len(content) != stop - start:
            raise RetryableError(
                f"{self._where(name)}: asked for {stop - start} bytes from {start}, got {len(content)}"
            )
        return content


def engine_files(names: list[str]) -> list[str]:
    """Those of the names that an engine loads: one form of the weights (safetensors first), no archives."""
    skipped = list(NOT_FOR_ENGINES)
    if any(fnmatch(name, "model*.safetensors") for name in names):
        skipped += ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]


def _hub_listing(uri: str, revision: str | None) -> tuple[str, dict[str, _Entry]]:
    api = HfApi()
    commit = api.resolve_revision(uri, revision=revision).resolved
    info = api.model_info(uri, revision=commit, files_metadata=True, timeout=TIMEOUT_S)
    entries = {
        file.rfilename: _Entry(
            size=file.size or 0, sha256=file.lfs.sha256 if file.lfs else None, blob_id=file.blob_id
        )
        for file in info.siblings or []
        if "/" not in file.rfilename
    }
    # This keeps the listing in the cache, for use offline, and shows at once whether access is granted.
    snapshot_download(uri, revision=commit, allow_patterns="config.json", etag_timeout=TIMEOUT_S)
    return commit, entries


def _cached_listing(uri: str, revision: str | None) -> tuple[str, dict[str, _Entry]]:
    """The listing as far as the cache knows it: names in the cache's tree or, failing that, its files."""
    commit = HfApi().resolve_revision(uri, revision=revision, local_files_only=True).resolved
    config = _cached_path(uri, commit, "config.json")
    try:
        tree = {file.path: file for file in get_cached_repo_tree(uri, revision=commit)}
    except CachedRepoTreeNotFoundError:
        if config is None:
            raise PermanentError(
                f"{uri}@{commit[:12]}: offline, and not in the cache; run once without HF_HUB_OFFLINE=1"
            ) from None
        return commit, {file.name: _cached_entry(file) for file in config.parent.iterdir() if file.is_file()}
    entries = {}
    for name, file in tree.items():
        if "/" not in name:
            path = _cached_path(uri, commit, name)
            entries[name] = _cached_entry(path) if path else _Entry(size=file.size, blob_id=file.blob_id)
    return commit, entries


def _cached_entry(path: Path) -> _Entry:
    """In the cache a file is a link to a blob that is named by its digest."""
    blob = path.readlink().name if path.is_symlink() else ""
    size = path.stat().st_size
    if len(blob) == 64:
        return _Entry(size=size, sha256=blob)
    return _Entry(size=size, blob_id=blob or None)


def _cached_path(uri: str, commit: str, name: str) -> Path | None:
    path = try_to_load_from_cache(uri, name, revision=commit)
    return Path(path) if isinstance(path, str) else None


def _read_file(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


@cache
def _lock(*_file: str) -> threading.Lock:
    return threading.Lock()


_seen_intact: set[tuple[str, int, int, int]] = set()


def _verified(path: Path, entry: _Entry) -> bool:
    """Whether the file's digest is the stated one; hashed once a process while the file stays unchanged."""
    status = path.stat()
    seen = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if seen not in _seen_intact:
        if status.st_size != entry.size or not _digest_matches(path, entry):
            return False
        _seen_intact.add(seen)
    return True


def _digest_matches(path: Path, entry: _Entry) -> bool:
    digest = hashlib.sha256()
    if entry.sha256 is None:
        digest = hashlib.sha1(f"blob {entry.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    expected = entry.sha256 or entry.blob_id
    return expected is None or digest.hexdigest() == expected


def _discard(path: Path) -> None:
    """Removes a cached file and the blobs behind its links."""
    if path.is_symlink():
        _discard(path.parent / path.readlink())
    path.unlink(missing_ok=True)
