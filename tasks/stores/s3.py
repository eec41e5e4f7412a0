"""An artefact's files under a prefix of an S3 bucket, through s3fs and the AWS_* variables.

S3 keeps no digest of a large object that could be read back, so each object carries its
sha256 as metadata: checked after an upload and after a download.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import s3fs
from fsspec.asyn import sync

from tasks.core.errors import CorruptError, RetryableError
from tasks.stores.disk import inside, sha256_of
from tasks.stores.hub_download import download_verified, only_writer
from tasks.stores.retry import with_retries
from tasks.stores.s3_errors import code_of, s3_errors

__all__ = ["S3Files", "filesystem", "forget_clients"]

PART_BYTES = 16 * 1024**2
PARTS_AT_ONCE = 4  # so a transfer holds at most 64 MB
MOST_PARTS = 10_000  # S3's own limit
SHA256 = "expo-sha256"


class _Digests(NamedTuple):
    """A file's sha256, and the ETags that S3 gives it when put at once and when put in parts."""

    sha256: str
    etags: tuple[str, str]


class S3Files:
    """Objects under `s3://bucket/prefix`.

    Every method raises InputError (no such bucket), PermanentError (access denied) and
    RetryableError (busy, or no connection).
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")

    def put(self, file: Path, name: str) -> None:
        """Uploads and checks; the object appears whole or not at all. The local file goes."""
        self.copy_in(file, name)
        file.unlink()

    def copy_in(self, file: Path, name: str) -> None:
        """As `put`, but the local file stays.

        Raises:
            RetryableError: the uploaded object differs; it was removed.
        """
        part_bytes = max(PART_BYTES, -(-file.stat().st_size // MOST_PARTS))
        digests = _digests(file, part_bytes)
        with self._errors(name):
            filesystem(os.getpid()).put_file(
                str(file),
                self._path(name),
                chunksize=part_bytes,
                max_concurrency=PARTS_AT_ONCE,
                Metadata={SHA256: digests.sha256},
            )
        if not self._is_stored(name, file.stat().st_size, digests):
            self.remove(name)
            raise RetryableError(
                f"{self._uri}/{name}: the uploaded object differs; it was removed, try again"
            )

    def create(self, content: bytes, name: str) -> bool:
        """Writes a small object that must not replace another; False if there is one already."""
        sha256 = hashlib.sha256(content).hexdigest()
        with self._errors(name):
            try:
                self._call("put_object", name, Body=content, IfNoneMatch="*", Metadata={SHA256: sha256})
            except OSError as error:
                # s3fs has FileExistsError for AWS, and EINVAL for servers that word it otherwise.
                if isinstance(error, FileExistsError) or code_of(error)[0] == "PreconditionFailed":
                    return False
                raise
        return True

    def read(self, name: str) -> bytes | None:
        """The content of a small object, None if there is none."""
        with contextlib.suppress(FileNotFoundError), self._errors(name):
            content: bytes = filesystem(os.getpid()).cat_file(self._path(name))
            return content
        return None

    def size(self, name: str) -> int | None:
        """The size in bytes, None if there is no object."""
        head = self._head(name)
        return None if head is None else int(head["ContentLength"])

    def names(self) -> list[str]:
        """The names of the objects directly under the prefix, sorted."""
        return sorted(self.listing())

    def folders(self) -> list[str]:
        """The names under the prefix that have objects below them, sorted."""
        return sorted(_last(entry) for entry in self._entries() if entry["type"] == "directory")

    def listing(self) -> dict[str, tuple[int, str]]:
        """Size in bytes and ETag of every object directly under the prefix."""
        found = {_last(entry): entry for entry in self._entries() if entry["type"] == "file"}
        # Some servers list the folder itself, as a nameless file.
        return {name: (found[name]["size"], found[name]["ETag"]) for name in sorted(found) if name}

    def remove(self, name: str) -> None:
        """Removes the object, if it is there."""
        with self._errors(name):
            self._call("delete_object", name)

    def sha256(self, name: str) -> str | None:
        """The digest that the object was uploaded with."""
        head = self._head(name)
        return head["Metadata"].get(SHA256) if head else None

    def fetch(self, name: str, folder: Path) -> Path:
        """A verified copy in `folder`; what an earlier try left there is used or continued."""
        head, target = self._head(name), inside(folder, name)
        if head is None:
            raise CorruptError(f"{self._uri}: {name} is missing; make the artefact again")
        stated = head["Metadata"].get(SHA256)
        part = folder / f".{name}.part"
        with only_writer(part) as file:
            if target.exists() and stated and sha256_of(target) == stated:
                part.unlink()
                return target
            read = partial(self.read_range, name, etag=head["ETag"])
            if not download_verified(file, head["ContentLength"], read, stated):
                part.unlink()
                raise CorruptError(f"{self._uri}/{name}: its content is not what was uploaded; make it again")
            part.replace(target)
        return target

    def read_range(self, name: str, start: int, length: int, etag: str | None = None) -> bytes:
        """Exactly `length` bytes from `start`; the request is repeated by itself when it fails.

        Raises:
            PermanentError: the object does not have this `etag` any more.
        """
        return with_retries(partial(self._request_range, name, start, length, etag))

    def _request_range(self, name: str, start: int, length: int, etag: str | None) -> bytes:
        asked = {"Range": f"bytes={start}-{start + length - 1}"} | ({"IfMatch": etag} if etag else {})
        with self._errors(name):
            fs = filesystem(os.getpid())
            key = self._path(name).partition("/")[2]
            content: bytes = sync(fs.loop, _get_object, fs, {"Bucket": self._bucket, "Key": key} | asked)
        if len(content) != length:
            raise RetryableError(
                f"{self._uri}/{name}: asked for {length} bytes from {start}, got {len(content)}"
            )
        return content

    def _is_stored(self, name: str, size: int, digests: _Digests) -> bool:
        """Compares size and digest: the ETag where it is the usual MD5, else the object is read back."""
        head = self._head(name)
        if head is None or head["ContentLength"] != size or head["Metadata"].get(SHA256) != digests.sha256:
            return False
        if head["ETag"].strip('"') in digests.etags:
            return True
        digest = hashlib.sha256()
        for start in range(0, size, PART_BYTES):
            digest.update(self.read_range(name, start, min(PART_BYTES, size - start)))
        return digest.hexdigest() == digests.sha256

    def _entries(self) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError), self._errors(""):
            return list(filesystem(os.getpid()).ls(self._path(""), detail=True, refresh=True))
        return []

    def _head(self, name: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError), self._errors(name):
            return self._call("head_object", name)
        return None

    def _call(self, method: str, name: str, **arguments: object) -> dict[str, Any]:
        key = self._path(name).partition("/")[2]
        answer = filesystem(os.getpid()).call_s3(method, Bucket=self._bucket, Key=key, **arguments)
        return dict(answer)

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self._bucket, self._prefix, name) if part)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        with s3_errors(f"{self._uri}/{name}".rstrip("/")):
            yield


async def _get_object(fs: s3fs.S3FileSystem, asked: dict[str, str]) -> bytes:
    """As the client's own `cat_file`, which takes no condition."""
    answer = await fs._call_s3("get_object", **asked)
    async with answer["Body"] as body:
        content: bytes = await body.read()
    return content


def _last(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]


@lru_cache(maxsize=1)
def filesystem(_process: int) -> s3fs.S3FileSystem:
    """One client a process (a forked child must not use its parent's), shared by its threads."""
    return s3fs.S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        default_block_size=PART_BYTES,
        max_concurrency=PARTS_AT_ONCE,
        # Callers wait for a store that stays away, with longer pauses.
        config_kwargs={"retries": {"mode": "standard", "total_max_attempts": 4}},
    )


def forget_clients() -> None:
    """Makes the next call read the AWS_* variables again, after a running process has changed them."""
    filesystem.cache_clear()


def _digests(file: Path, part_bytes: int) -> _Digests:
    sha256, whole, parts = hashlib.sha256(), hashlib.md5(usedforsecurity=False), []
    with file.open("rb") as opened:
        while part := opened.read(part_bytes):
            sha256.update(part)
            whole.update(part)
            parts.append(hashlib.md5(part, usedforsecurity=False).digest())
    joined = hashlib.md5(b"".join(parts), usedforsecurity=False)
    return _Digests(sha256.hexdigest(), (whole.hexdigest(), f"{joined.hexdigest()}-{len(parts)}"))
