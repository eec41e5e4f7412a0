"""A checkpoint on the Hugging Face Hub, at one commit, with every file verified.

The Hub's client neither verifies what it fetched nor resumes what a killed process began.
Both are supplied here: a file's sha256 (the git blob id for small files) is compared with what
the Hub states, a bad file is fetched once more and then refused; a large file is fetched in
ranges and continued. Files that the Hub offers through Xet the client fetches itself, from
the start. All lie in the user's own cache (HF_HOME), so what is there is not fetched again.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_session,
    hf_hub_download,
    hf_hub_url,
    hf_raise_for_status,
    is_offline_mode,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers, disable_progress_bars  # type: ignore[attr-defined]

from tasks.core.errors import CorruptError, PermanentError, RetryableError
from tasks.stores.hub_cache import (
    PARTIAL,
    HubFile,
    cached_path,
    discard,
    is_intact,
    remember_intact,
    remove_orphans,
)
from tasks.stores.hub_download import download_verified, only_writer
from tasks.stores.hub_errors import with_retries
from tasks.stores.hub_listing import TIMEOUT_S, list_repository
from tasks.stores.source import Checkpoint, FileInfo, engine_files

__all__ = ["HubSource"]

# They would break into the program's own; HF_HUB_DISABLE_PROGRESS_BARS=0 brings them back.
disable_progress_bars()

FETCHES_AT_ONCE = 2  # each with several ranges in flight


class HubSource:
    """A repository of the Hub at one commit. Safe for threads.

    Raises:
        InputError: no such repository or revision.
        PermanentError: access is not granted, or offline and not in the cache.
        RetryableError: the Hub is busy or cannot be reached.
    """

    def __init__(self, uri: str, revision: str | None = None) -> None:
        where = f"{uri}@{revision}" if revision else uri
        listing = with_retries(where, partial(list_repository, uri, revision))
        self._uri, self._commit, self._listed = uri, listing.commit, listing.files
        self._folders = listing.folders
        self._files = {
            name: FileInfo(size=f.size, sha256=f.sha256, etag=f.etag) for name, f in self._listed.items()
        }
        self._blobs = (
            Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=uri, repo_type="model") / "blobs"
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint at its commit."""
        return Checkpoint(uri=self._uri, commit=self._commit)

    def files(self) -> Mapping[str, FileInfo]:
        """The files at the top, by name."""
        return self._files

    def folders(self) -> tuple[str, ...]:
        """The names of the folders, hidden ones left out."""
        return self._folders

    def read(self, name: str, start: int, length: int) -> bytes:
        """A range of a file; from the cache if it is there, else one request for just that range.

        A range has no digest of its own: only `fetch` verifies large files.
        """
        file = self._file(name)
        if file.sha256 is None:  # a small file: fetched whole it can be verified
            return _read(self.fetch(name), start, length)
        if (cached := cached_path(self._uri, self._commit, name)) is not None:
            return _read(cached, start, length)
        self._require_online()
        length = min(length, file.size - start)
        return self._read_range(name, start, length) if length > 0 else b""

    def fetch(self, name: str) -> Path:
        """The file in the cache, downloaded if need be, its digest compared with the Hub's.

        Raises:
            CorruptError: the digest was wrong twice (or once, offline).
        """
        file = self._file(name)
        with _lock(self._uri, self._commit, name):
            path = self._get(name, file)
            if not is_intact(path, file) and not is_offline_mode():
                discard(path)
                path = self._get(name, file)
            if not is_intact(path, file):
                discard(path)
                raise _corrupt(self._where(name))
        return path

    def folder(self) -> Path:
        """The snapshot folder in the cache with every file that an engine needs, verified."""
        names = engine_files(list(self._files))
        if any(cached_path(self._uri, self._commit, name) is None for name in names):
            self._require_online()
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
            paths = list(pool.map(self.fetch, names))
        if not paths:
            raise CorruptError(f"{self._where()}: no files for an engine in this repository")
        return paths[0].parent

    def _require_online(self) -> None:
        """Refuses a file that the cache lacks when offline; the message names every missing file at once."""
        if is_offline_mode():
            names = engine_files(list(self._files))
            missing = [name for name in names if cached_path(self._uri, self._commit, name) is None]
            raise PermanentError(
                f"{self._where()}: offline, and the cache {constants.HF_HUB_CACHE} lacks "
                f"{', '.join(missing) or 'what is needed'}; run once without HF_HUB_OFFLINE=1"
            )

    def _where(self, name: str = "") -> str:
        return f"{self._uri}@{self._commit[:12]} {name}".rstrip()

    def _file(self, name: str) -> HubFile:
        if name not in self._listed:
            raise CorruptError(f"{self._where()}: no file {name!r} at the top of this repository")
        return self._listed[name]

    def _get(self, name: str, file: HubFile) -> Path:
        """The file's path in the cache; its blob is downloaded first where the client would not resume."""
        missing = cached_path(self._uri, self._commit, name) is None
        if missing:
            self._require_online()
        if missing and file.sha256 and not (file.xet and not constants.HF_HUB_DISABLE_XET):
            self._download_blob(name, file.size, self._blobs / file.sha256)
        if missing:
            remove_orphans(self._blobs)
        call = partial(hf_hub_download, self._uri, name, revision=self._commit, etag_timeout=TIMEOUT_S)
        return Path(with_retries(self._where(name), call))

    def _download_blob(self, name: str, size: int, blob: Path) -> None:
        """Fetches a large file to where the client looks for it, named by its sha256."""
        part = blob.with_name(f"{blob.name}{PARTIAL}")
        with only_writer(part) as file:
            if blob.exists():
                part.unlink()
                return
            if not download_verified(file, size, partial(self._read_range, name), blob.name):
                part.unlink()
                raise _corrupt(self._where(name))
            remember_intact(part)
            part.replace(blob)

    def _read_range(self, name: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`; the request is repeated by itself when it fails."""
        return with_retries(self._where(name), partial(self._request_range, name, start, length))

    def _request_range(self, name: str, start: int, length: int) -> bytes:
        # Without "identity" a compressing proxy would ignore the range.
        asked = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        url = hf_hub_url(self._uri, name, revision=self._commit)
        headers = build_hf_headers() | asked
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
            hf_raise_for_status(response)
            whole = response.headers.get("Content-Length") == str(length)
            if response.status_code != 206 and not whole:  # reading on would fill the memory
                raise PermanentError(
                    f"{self._where(name)}: {constants.ENDPOINT} (or a proxy before it) ignores range "
                    "requests; use another HF_ENDPOINT"
                )
            _require_listed(self._where(name), response, self._file(name))
            content: bytes = response.read()
        if len(content) != length:
            raise RetryableError(
                f"{self._where(name)}: asked for {length} bytes from {start}, got {len(content)}"
            )
        return content


def _require_listed(where: str, response: Any, file: HubFile) -> None:  # noqa: ANN401 - see hub_errors
    """A range has no digest, so at least the file's size and ETag must be those of the listing."""
    _, _, total = response.headers.get("Content-Range", "").partition("/")
    etags = {answer.headers.get("X-Linked-Etag", "").strip('"') for answer in response.history}
    if (total.isdigit() and int(total) != file.size) or (any(etags) and file.etag not in etags):
        raise RetryableError(f"{where}: the Hub gave another file than it listed; try again")


def _corrupt(where: str) -> CorruptError:
    return CorruptError(
        f"{where}: its digest is not the one that the Hub states; the file was removed from the cache: "
        "try again later, or tell the repository's owner"
    )


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


@cache
def _lock(*_file: str) -> threading.Lock:
    return threading.Lock()
