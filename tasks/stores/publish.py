"""Publishing a model to the Hugging Face Hub: one commit, once, verified afterwards.

Large files go first, one by one, so that a model in S3 needs one shard's space on this disk.
Then one commit, atomic, brings everything into sight: weights, side files, card and manifest.
A process killed before that has published nothing; one killed after it finds its commit.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants
from yaml import YAMLError

from tasks.errors import CorruptError, InputError
from tasks.stores.artefact import MANIFEST, Artefact
from tasks.stores.hub import HubSource
from tasks.stores.hub_errors import hub_errors, patiently
from tasks.stores.local import cache_folder
from tasks.stores.source import sha256_of
from tasks.values import Value
from tasks.weights.manifest import Manifest, ModelFile, read_manifest

__all__ = ["Published", "prepare_repository", "publish"]

CARD = "README.md"
# What a repository may hold before: what the Hub itself puts into a new one, and a card.
NEW_REPOSITORY = {".gitattributes", CARD}
LARGEST_GIT_FILE = 10 * 1024**2  # the Hub takes larger ones into large-file storage only


class Published(Value):
    """A model on the Hub: the repository and the commit (40 hex digits) that holds it."""

    repo_id: str
    commit: str

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/{self.repo_id}/tree/{self.commit}"


def publish(
    model: Artefact,
    repo_id: str,
    *,
    card: str,
    private: bool = True,
    advance: Callable[[int], None] = lambda _: None,
) -> Published:
    """Uploads a whole model to `repo_id`, made if need be; `card` is its README.md with metadata.

    A model that is there already (by its manifest's fingerprint) is not uploaded again.
    `advance` gets bytes of the model's files that are on the Hub.

    Raises:
        InputError: the model has no manifest, the card's metadata is wrong, or the repository
            holds something else or is of the other visibility.
        CorruptError: a file of the model, or one on the Hub afterwards, is not what the manifest says.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    content = model.manifest()
    if content is None:
        raise InputError(f"{model.uri}: no manifest, so there is no whole model; extrapolate first")
    manifest = read_manifest(content)
    _check_card(repo_id, card)
    commit = patiently(repo_id, partial(_publish_once, model, repo_id, card, private, manifest, advance))
    _verify(HubSource(repo_id, commit), manifest)
    if model.local is not None:
        _compare(model.local, repo_id, commit)
    return Published(repo_id=repo_id, commit=commit)


def prepare_repository(repo_id: str, fingerprint: str, private: bool = True) -> HubSource:
    """Makes the repository if need be, and looks whether a model of this fingerprint may go there.

    A run that is to publish in the end calls it in the beginning.

    Raises:
        InputError: the repository holds something else or is of the other visibility.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    return patiently(repo_id, partial(_prepare, repo_id, fingerprint, private))


def _prepare(repo_id: str, fingerprint: str, private: bool) -> HubSource:
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    _require_visibility(api, repo_id, private)
    head = HubSource(repo_id)
    _holds(head, fingerprint)
    return head


def _publish_once(
    model: Artefact,
    repo_id: str,
    card: str,
    private: bool,
    manifest: Manifest,
    advance: Callable[[int], None],
) -> str:
    """The commit that holds the model: found, or made. Safe to repeat when an answer was lost."""
    api = HfApi()
    head = _prepare(repo_id, manifest.fingerprint, private)
    if _holds(head, manifest.fingerprint):
        return head.checkpoint.commit
    copies = cache_folder() / "publish" / manifest.fingerprint[:16]
    operations = [CommitOperationAdd(CARD, card.encode())]
    operations.append(CommitOperationAdd(MANIFEST, model.read(MANIFEST) or b""))
    for file in sorted(manifest.files, key=lambda file: -file.size):
        operations.append(_upload(api, repo_id, file, model.fetch(file.name, copies)))
        advance(file.size)
        if model.local is None and file.size > LARGEST_GIT_FILE:
            (copies / file.name).unlink()
    commit = api.create_commit(
        repo_id,
        operations,
        commit_message=f"ExPO model {manifest.fingerprint[:16]}",
        parent_commit=head.checkpoint.commit,
    )
    shutil.rmtree(copies, ignore_errors=True)
    return commit.oid


def _check_card(repo_id: str, card: str) -> None:
    """Lets the Hub check the card's metadata before anything is uploaded."""
    try:
        with hub_errors(repo_id):
            ModelCard(card).validate()
    except (ValueError, YAMLError) as error:
        raise InputError(f"{repo_id}: the model card's metadata is wrong: {error}") from error


def _require_visibility(api: HfApi, repo_id: str, private: bool) -> None:
    """The repository may have been there before, and open to everybody."""
    if bool(api.repo_info(repo_id).private) != private:
        raise InputError(
            f"{repo_id}: this repository is {'public' if private else 'private'} already; "
            "choose another, or change its settings on the Hub"
        )


def _holds(head: HubSource, fingerprint: str) -> bool:
    """Whether the repository has this very model; False if it has nothing yet."""
    names = set(head.files())
    if MANIFEST not in names:
        if others := sorted(names - NEW_REPOSITORY):
            raise InputError(
                f"{head.checkpoint.uri}: the repository holds {', '.join(others[:5])}; choose an empty one"
            )
        return False
    try:
        held = read_manifest(head.fetch(MANIFEST).read_bytes()).fingerprint
    except CorruptError:
        held = ""
    if held != fingerprint:
        raise InputError(f"{head.checkpoint.uri}: the repository holds another model; choose an empty one")
    return True


def _upload(api: HfApi, repo_id: str, file: ModelFile, path: Path) -> CommitOperationAdd:
    """Brings a large file's content to the Hub, where nobody sees it before the commit."""
    operation = CommitOperationAdd(file.name, path)
    if operation.upload_info.sha256.hex() != file.sha256:
        raise CorruptError(f"{path}: not what the model's manifest says; make the model again")
    api.preupload_lfs_files(repo_id, [operation])
    return operation


def _compare(folder: Path, repo_id: str, commit: str) -> None:
    """The Hub's own comparison of its listing with the local files, which it hashes again."""
    compare = partial(HfApi().verify_repo_checksums, repo_id, revision=commit, local_dir=folder)
    if differing := [one["path"] for one in patiently(repo_id, compare).mismatches]:
        raise CorruptError(
            f"{repo_id}@{commit[:12]}: {', '.join(differing)} differ from {folder}; make the model again"
        )


def _verify(published: HubSource, manifest: Manifest) -> None:
    """Compares what the Hub holds now with the manifest, file by file, without fetching large ones."""
    listed = published.files()
    for file in manifest.files:
        held = listed[file.name].sha256 if file.name in listed else ""
        if held is None:  # in git, which knows another digest
            held = sha256_of(published.fetch(file.name))
        if held != file.sha256:
            raise CorruptError(
                f"{published.checkpoint.uri}@{published.checkpoint.commit[:12]}: {file.name} is not what was "
                "published; delete the repository and publish again"
            )
