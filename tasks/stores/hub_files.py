"""A model's files on a branch of its Hub repository, `hf://org/name@branch`, before it is published.

Weights are committed to the branch one by one as they are made, so the local disk holds only the
shards in progress. Small files wait in the cache folder and follow in one commit with the manifest.
Nothing shows on the repository's main until `tasks.publishing.commit` has the Hub copy the files
there in one commit; then the branch is deleted.

Why a branch: only the process that uploaded a file can commit it, and the Hub may remove content
that no commit references. Content on a branch is kept, and `CommitOperationCopy` takes it from
there, also after a restart. The branch of an abandoned run stays until somebody deletes it.
"""

from functools import partial
from pathlib import Path
from threading import Lock

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.hf_api import RepoFile

from tasks.core.errors import InputError
from tasks.core.values import fingerprint
from tasks.stores.disk import cache_folder, remove_tree, sha256_of
from tasks.stores.hub import HubSource
from tasks.stores.hub_errors import with_retries
from tasks.stores.local import LocalFiles

__all__ = ["CARD", "NEW_REPOSITORY", "HubFiles"]

WEIGHTS = ".safetensors"
CARD = "README.md"
# Files that a repository may have beforehand: those of a new repository, and a card.
NEW_REPOSITORY = {".gitattributes", CARD}

_committing = Lock()  # of two commits to one branch at once, one would be refused


class HubFiles:
    """The files on the branch of `hf://org/name@branch`, and those that wait for the manifest.

    Every method raises InputError (no such repository or branch), PermanentError (HF_TOKEN may
    not do this) and RetryableError (the Hub is busy or cannot be reached).
    """

    def __init__(self, uri: str) -> None:
        self._repo_id, _, self._branch = uri.removeprefix("hf://").partition("@")
        if not self._branch:
            raise InputError(f"{uri}: a repository of the Hub is no place for this; give a folder or s3://…")
        self._where = f"{self._repo_id}@{self._branch}"
        place = fingerprint({"hub": constants.ENDPOINT, "uri": uri})[:16]
        self._folder = cache_folder() / "hub" / place
        self._waiting = LocalFiles(self._folder)

    def put(self, file: Path, name: str) -> None:
        """Commits weights to the branch and removes the local file; other files wait for `create`."""
        if name.endswith(WEIGHTS):
            self._send(file, name)
            file.unlink()
        else:
            self._waiting.put(file, name)

    def copy_in(self, file: Path, name: str) -> None:
        """As `put`, but the local file stays."""
        if name.endswith(WEIGHTS):
            self._send(file, name)
        else:
            self._waiting.copy_in(file, name)

    def create(self, content: bytes, name: str) -> bool:
        """Commits a file together with all that wait; False, and no commit, if its name is taken."""
        created: bool = with_retries(self._where, partial(self._create_once, content, name))
        remove_tree(self._folder, cache_folder())
        return created

    def sha256(self, name: str) -> str | None:
        """The digest, of a waiting file or of one on the branch; None if there is neither."""
        if self._waiting.size(name) is not None:
            return self._waiting.sha256(name)
        held = self._held().get(name)
        if held is None:
            return None
        return held.lfs.sha256 if held.lfs else sha256_of(self._source().fetch(name))

    def read(self, name: str) -> bytes | None:
        """The content of a waiting file or of one on the branch, None if there is neither."""
        waiting = self._waiting.read(name)
        if waiting is not None or name not in self._held():
            return waiting
        return self._source().fetch(name).read_bytes()

    def size(self, name: str) -> int | None:
        """The size in bytes of a waiting file or of one on the branch, None if there is neither."""
        waiting = self._waiting.size(name)
        held = self._held().get(name) if waiting is None else None
        return held.size if held else waiting

    def names(self) -> list[str]:
        """The names of all files, sorted, without those of a new repository."""
        return sorted({*self._waiting.names(), *self._held()} - NEW_REPOSITORY)

    def folders(self) -> list[str]:
        """None: a model has no folders."""
        return []

    def remove(self, name: str) -> None:
        """Removes a waiting file; files on the branch are removed with the branch."""
        self._waiting.remove(name)

    def fetch(self, name: str, folder: Path) -> Path:
        """The path of a waiting file, else of a verified copy in the Hub client's cache."""
        if self._waiting.size(name) is not None:
            return self._waiting.fetch(name, folder)
        return self._source().fetch(name)

    def _send(self, file: Path, name: str) -> None:
        """Uploads the content, several files at a time, then makes the commit that names it."""
        api, operation = HfApi(), CommitOperationAdd(name, file)
        send = partial(api.preupload_lfs_files, self._repo_id, [operation], revision=self._branch)
        with_retries(f"{self._where} {name}", send)
        commit = partial(api.create_commit, self._repo_id, [operation], revision=self._branch)
        with _committing:
            with_retries(f"{self._where} {name}", partial(commit, commit_message=name))

    def _create_once(self, content: bytes, name: str) -> bool:
        head = self._source()
        if name in head.files():
            return False
        operations = [
            CommitOperationAdd(name, self._waiting.fetch(name, self._folder))
            for name in self._waiting.names()
        ]
        HfApi().create_commit(
            self._repo_id,
            [*operations, CommitOperationAdd(name, content)],
            commit_message=name,
            revision=self._branch,
            parent_commit=head.checkpoint.commit,
        )
        return True

    def _held(self) -> dict[str, RepoFile]:
        """The files on the branch now, by name."""
        listed = with_retries(
            self._where, lambda: list(HfApi().list_repo_tree(self._repo_id, revision=self._branch))
        )
        return {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}

    def _source(self) -> HubSource:
        """The branch at its present commit."""
        return HubSource(self._repo_id, self._branch)
