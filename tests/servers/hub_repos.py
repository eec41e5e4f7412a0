"""What the Hub emulator holds: repositories as chains of commits over content-addressed blobs."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Condition
from typing import Literal

from tests.waiting import LIMIT

__all__ = ["LFS_SUFFIXES", "Blob", "Commit", "Fault", "HubState", "Repo", "blob_of"]

Kind = Literal["drop", "corrupt", "truncate", "whole", "status", "lost", "stall"]

LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".h5")


@dataclass(frozen=True)
class Blob:
    """A file's content; `oid` is its git blob id, for LFS files that of the pointer file."""

    content: bytes = field(repr=False)
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def oid(self) -> str:
        stored = self.content
        if self.lfs:
            size = len(self.content)
            spec = "version https://git-lfs.github.com/spec/v1"
            stored = f"{spec}\noid sha256:{self.sha256}\nsize {size}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def listing(self, path: str) -> dict[str, object]:
        """The entry of this file in an answer of the tree endpoint."""
        entry: dict[str, object] = {"type": "file", "path": path, "oid": self.oid, "size": len(self.content)}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry

    def sibling(self, path: str) -> dict[str, object]:
        """The entry of this file in an answer of the model endpoint with blobs=true."""
        entry: dict[str, object] = {"rfilename": path, "blobId": self.oid, "size": len(self.content)}
        if self.lfs:
            entry["lfs"] = {"sha256": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class Commit:
    """A listing at one moment; its sha depends on its content and its parents."""

    sha: str
    parent: str
    title: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """One repository. `granted` holds the tokens that may read it when it is gated or private."""

    gated: bool = False
    private: bool = False
    granted: set[str] = field(default_factory=set)
    commits: list[Commit] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, Blob], title: str = "Upload", branch: str = "main") -> str:
        """Adds a commit with exactly these files at the head of a branch."""
        parent = self.refs.get(branch, "")
        listing = "".join(f"{path} {files[path].etag}\n" for path in sorted(files))
        sha = hashlib.sha1(f"{parent}\n{title}\n{listing}".encode()).hexdigest()
        self.commits.append(Commit(sha, parent, title, dict(files)))
        self.refs[branch] = sha
        return sha

    def at(self, revision: str) -> Commit | None:
        """The commit of a branch, tag or sha."""
        sha = self.refs.get(revision, revision)
        return next((commit for commit in self.commits if commit.sha == sha), None)

    @property
    def head(self) -> Commit:
        return next(self.history())

    def history(self, revision: str = "main") -> Iterator[Commit]:
        """The commits of a branch, the newest first."""
        while commit := self.at(revision):
            yield commit
            revision = commit.parent


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD /path" matches `on`.

    drop      half of the body, then the connection breaks
    corrupt   one byte differs, the length is right
    truncate  half of the body, said to be all of it
    whole     the whole body, whatever range was asked for
    status    the answer is `status`, with Retry-After when `retry_after` is given
    lost      what was asked for is done, but the answer is `status`
    stall     no answer until the client goes away

    The first `after` such requests are left alone.
    """

    kind: Kind
    on: str
    times: int = 1
    status: int = 503
    retry_after: int | None = None
    after: int = 0


@dataclass
class HubState:
    """Everything that a Hub holds, and what is planned to go wrong with it.

    log  every request as "METHOD /path range"
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    bytes_per_second: float | None = None
    _news: Condition = field(default_factory=Condition, repr=False)

    def add(
        self, repo_id: str, files: dict[str, bytes] | Path, *, gated: bool = False, private: bool = False
    ) -> str:
        """A repository with these files (or another commit of it); gives the commit's sha."""
        contents = _read_folder(files) if isinstance(files, Path) else files
        repo = self.repos.setdefault(repo_id, Repo(gated=gated, private=private))
        return repo.commit({path: blob_of(path, content) for path, content in contents.items()})

    def add_all(self, folder: Path) -> dict[str, str]:
        """Every folder `org/name` under this one as a repository; gives their commits by id."""
        found = sorted(path for path in folder.glob("*/*") if path.is_dir())
        return {
            str(path.relative_to(folder)): self.add(str(path.relative_to(folder)), path) for path in found
        }

    def clear(self) -> None:
        """Forgets everything, for the next test."""
        for held in (self.repos, self.uploads, self.faults, self.log):
            held.clear()
        self.bytes_per_second = None

    def tag(self, repo_id: str, name: str, commit: str) -> None:
        self.repos[repo_id].refs[name] = commit

    def fail(
        self,
        kind: Kind,
        on: str,
        times: int = 1,
        *,
        status: int = 503,
        retry_after: int | None = None,
        after: int = 0,
    ) -> None:
        """Plans a fault; see Fault."""
        self.faults.append(Fault(kind, on, times, status, retry_after, after))

    def note(self, line: str) -> None:
        """A request has come."""
        with self._news:
            self.log.append(line)
            self._news.notify_all()

    def wait_until_asked(self, pattern: str, times: int, timeout: float = LIMIT) -> bool:
        """Waits for that many requests that match the pattern."""
        with self._news:
            return self._news.wait_for(lambda: self.asked(pattern) >= times, timeout)

    def asked(self, pattern: str) -> int:
        """How many requests ("METHOD /path range") matched the pattern."""
        return sum(1 for line in self.log if re.search(pattern, line))

    def fault_for(self, line: str, kinds: tuple[Kind, ...]) -> Fault | None:
        """The planned fault that this request meets, counted down."""
        for fault in self.faults:
            if not (fault.times > 0 and fault.kind in kinds and re.search(fault.on, line)):
                continue
            if fault.after == 0:
                fault.times -= 1
                return fault
            fault.after -= 1
        return None


def blob_of(path: str, content: bytes) -> Blob:
    """A file as the Hub would store it: weights in LFS, the rest in git."""
    return Blob(content, lfs=path.endswith(LFS_SUFFIXES))


def _read_folder(folder: Path) -> dict[str, bytes]:
    """Every file under a folder by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
