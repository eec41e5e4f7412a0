"""Benchmarks' data files, from pinned revisions and checked by sha256. None of it is in this project's files.

    path = fetch(file)                               on this machine's disk, downloaded if need be
    import_from(Path("/media/usb"), files)           from a folder, on a machine that reaches nothing

A file comes from a data set on the Hub, through the Hub's cache, or from a web address. What is
fetched from the web or imported lies in $EXPO_CACHE/data.
"""

import hashlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from tasks.core.errors import CorruptError, ExpoError, InputError, PermanentError, RetryableError
from tasks.stores.disk import cache_folder, sha256_of, whole_file
from tasks.stores.retry import is_retryable

__all__ = ["DataFile", "cached", "fetch", "import_from", "verified"]

BUSY = (408, 425, 429, 500, 502, 503, 504)
TIMEOUT = 60  # seconds without a byte


class DataFile(NamedTuple):
    """A file, the sha256 (64 hex digits) that it must have, and where it comes from.

    url                    its address on the web, or
    repository, revision   the data set on the Hub in which it lies under its name
    git_blob               of a file whose sha256 is not known ("" then): the id of its git object, the sha1
                           of its length and content
    """

    name: str
    sha256: str
    url: str | None = None
    repository: str = ""
    revision: str = ""
    git_blob: str = ""

    @property
    def digest(self) -> str:
        """What its content must give: see `digest_of`."""
        return self.sha256 or self.git_blob

    @property
    def path(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / "data" / self.digest[:12] / Path(self.name).name

    def digest_of(self, path: Path) -> str:
        """The digest of a file's content, of the kind that this one is pinned by."""
        return sha256_of(path) if self.sha256 else git_blob_of(path)


def fetch(file: DataFile) -> Path:
    """The file on this machine's disk, downloaded if need be.

    Raises:
        CorruptError: its content is not what the pinned digest says.
        RetryableError: its server is busy or cannot be reached.
        PermanentError: offline, and the cache lacks it; or its server refuses.
    """
    if here := cached(file):
        return here
    try:
        return _from_hub(file) if file.url is None else _from_web(file, file.url)
    except CorruptError:
        raise
    except ExpoError as error:
        raise type(error)(f"{error}; {_by_hand(file)}") from error


def cached(file: DataFile) -> Path | None:
    """The file if it is on this machine already, None if it is not; nothing is downloaded.

    Raises:
        CorruptError: it is there, and its content is not what the pinned digest says.
    """
    if file.path.is_file():
        return verified(file.path, file)
    if file.url is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(file.repository, file.name, repo_type="dataset", revision=file.revision)
    return verified(Path(path), file) if isinstance(path, str) else None


def import_from(folder: Path, files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    """Takes every data file that lies in a folder, recognized by its digest, not its name.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with copies of the data files")
    missing = {file.digest: file for file in files if not file.path.is_file()}
    taken = []
    for path in _candidates(folder, files):
        digests = dict.fromkeys(file.digest_of(path) for file in _of_each_kind(missing.values()))
        for file in [missing.pop(digest) for digest in digests if digest in missing]:
            with whole_file(file.path) as part:
                shutil.copyfile(path, part)
            taken.append(file)
    return tuple(taken)


def git_blob_of(path: Path) -> str:
    """The id (40 hex digits) of the git object that holds a file's content."""
    sha1 = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha1.update(block)
    return sha1.hexdigest()


def verified(path: Path, file: DataFile) -> Path:
    """The path, if its content is the pinned one.

    Raises:
        CorruptError: it is not.
    """
    digest = file.digest_of(path)
    if digest != file.digest:
        kind = "sha256" if file.sha256 else "git object id"
        raise CorruptError(
            f"{path}: its {kind} is {digest}, not the pinned {file.digest}; remove it, and {_by_hand(file)}"
        )
    return path


def _from_hub(file: DataFile) -> Path:
    from huggingface_hub import hf_hub_download

    from tasks.stores.hub_errors import hub_errors

    with hub_errors(f"{file.repository}@{file.revision[:12]} {file.name}"):
        path = hf_hub_download(file.repository, file.name, repo_type="dataset", revision=file.revision)
    return verified(Path(path), file)


def _from_web(file: DataFile, url: str) -> Path:
    try:
        with whole_file(file.path) as part:
            with urlopen(url, timeout=TIMEOUT) as answer, part.open("wb") as target:
                shutil.copyfileobj(answer, target)
            verified(part, file)
    except HTTPError as error:
        kind = RetryableError if is_retryable(error.code) else PermanentError
        raise kind(f"{url}: the server said {error.code} {error.reason}") from error
    except OSError as error:
        raise RetryableError(f"{url}: cannot be reached: {error}") from error
    return file.path


def _of_each_kind(files: Collection[DataFile]) -> Collection[DataFile]:
    """One that is pinned by sha256, and one by git object, of those that there are."""
    return {bool(file.sha256): file for file in files}.values()


def _candidates(folder: Path, files: Sequence[DataFile]) -> Iterator[Path]:
    suffixes = {Path(file.name).suffix for file in files}
    return (path for path in sorted(folder.rglob("*")) if path.suffix in suffixes and path.is_file())


def _by_hand(file: DataFile) -> str:
    if file.url is not None:
        return f"on a machine without internet bring {file.url} and say `expo data fetch --from FOLDER`"
    command = f"hf download {file.repository} {file.name} --repo-type dataset --revision {file.revision}"
    return f"get it on a machine that reaches the Hub, and say `expo data fetch --from FOLDER`: {command}"
