"""Publishing a model to the Hugging Face Hub: one commit, once, verified afterwards.

Large files go first, one by one, so that a model in S3 needs one shard's space on this disk; a
model that was put together on a branch of the repository (`tasks.stores.hub_files`) needs none.
Then one atomic commit publishes everything: weights, side files, card and manifest. A process
killed before it has published nothing; after a kill behind it the next run finds the commit.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, ModelCard, constants
from yaml import YAMLError

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import Value
from tasks.core.worker import without_credentials
from tasks.publishing.branch import branch_in, close_branch
from tasks.publishing.repository import differing, holds, open_repository, prepare_repository
from tasks.stores.artefact import MANIFEST, Artefact
from tasks.stores.disk import cache_folder, inside, remove_tree
from tasks.stores.hub import HubSource
from tasks.stores.hub_errors import hub_errors, with_retries
from tasks.stores.hub_files import CARD
from tasks.stores.lease import hold_lease, release_lease
from tasks.weights.manifest import Manifest, ModelFile, read_manifest
from tasks.weights.signature import SIGNATURE, signature_by

__all__ = ["Published", "find_published", "publish", "sign_published"]

Operations = list[CommitOperationAdd | CommitOperationCopy]

LARGEST_GIT_FILE = 10 * 1024**2  # the Hub takes larger ones into large-file storage only


class Published(Value):
    """A model on the Hub: the repository and the commit (40 hex digits) that holds it."""

    repo_id: str
    commit: str

    @property
    def url(self) -> str:
        """The page of the repository at this commit."""
        return f"{without_credentials(constants.ENDPOINT)}/{self.repo_id}/tree/{self.commit}"


def publish(
    model: Artefact,
    repo_id: str,
    *,
    card: str,
    renew_card: bool = False,
    private: bool = True,
    sign_with: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Published:
    """Uploads a whole model to `repo_id`, made if need be; `card` is its README.md with metadata.

    A model that is there already (by its manifest's fingerprint) is not uploaded again; `renew_card`
    updates only the model card, where it differs. A signature that lies in the model is uploaded too,
    or one by the private key `sign_with`, also to a model that is there already. `advance` gets bytes of
    the model's files that are on the Hub.

    Raises:
        InputError: the key is none, the model has no manifest, the card's metadata is wrong, or the
            repository holds something else or is of the other visibility.
        CorruptError: a file of the model, or one on the Hub afterwards, is not what the manifest says.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    content = model.manifest()
    if content is None:
        raise InputError(f"{model.uri}: no manifest, so there is no whole model; extrapolate first")
    manifest = read_manifest(content)
    _check_card(repo_id, card)
    branch = branch_in(repo_id, model.uri)
    if branch:
        _verify_branch(repo_id, branch, manifest)
    signature = model.read(SIGNATURE)
    if sign_with:
        signature = signature_by(sign_with, content, signature)
    unlisted = {CARD: card.encode()} | ({SIGNATURE: signature} if signature else {})
    commit = with_retries(
        repo_id, partial(_publish_once, model, repo_id, unlisted, private, manifest, advance)
    )
    if renew_card:
        commit = with_retries(repo_id, partial(_renew, repo_id, CARD, lambda _: card.encode(), "Model card"))
    if sign_with:
        commit = sign_published(repo_id, content, sign_with)
    _verify(HubSource(repo_id, commit), manifest)
    if branch:
        close_branch(repo_id, manifest.fingerprint)
    if model.local is not None:
        _compare(model.local, repo_id, commit)
    return Published(repo_id=repo_id, commit=commit)


def find_published(
    repo_id: str, fingerprint: str, private: bool = True, sign_with: Path | None = None
) -> Published | None:
    """The model of this fingerprint in a repository, verified; None where it may still go there.

    It gets a signature by the private key `sign_with`, if it has none by that.

    The repository is made if need be, and the branch of a run that was killed behind its commit
    goes. Raises as `prepare_repository`, and CorruptError as `publish`.
    """
    head = prepare_repository(repo_id, fingerprint, private)
    if not holds(head, fingerprint):
        return None
    content = head.fetch(MANIFEST).read_bytes()
    _verify(head, read_manifest(content))
    close_branch(repo_id, fingerprint)
    commit = sign_published(repo_id, content, sign_with) if sign_with else head.checkpoint.commit
    return Published(repo_id=repo_id, commit=commit)


def sign_published(repo_id: str, manifest: bytes, key: Path) -> str:
    """The commit that holds the model with this manifest and a signature of it by a private key.

    Raises:
        InputError: the key is none.
        PermanentError, RetryableError: as `publish`.
    """
    signed = partial(signature_by, key, manifest)
    return with_retries(repo_id, partial(_renew, repo_id, SIGNATURE, signed, "Signature"))


def _publish_once(
    model: Artefact,
    repo_id: str,
    unlisted: Mapping[str, bytes],
    private: bool,
    manifest: Manifest,
    advance: Callable[[int], None],
) -> str:
    """The commit that holds the model: found, or made. Safe to repeat when an answer was lost.

    `unlisted` are the small files that the manifest does not name.
    """
    api = HfApi()
    head = open_repository(repo_id, manifest.fingerprint, private)
    if holds(head, manifest.fingerprint):
        return head.checkpoint.commit
    if branch := branch_in(repo_id, model.uri):
        names = (MANIFEST, *(file.name for file in manifest.files))
        files: Operations = [CommitOperationCopy(name, name, src_revision=branch) for name in names]
    else:
        files = _uploaded(api, model, repo_id, manifest, advance)
    commit = api.create_commit(
        repo_id,
        [*(CommitOperationAdd(name, content) for name, content in unlisted.items()), *files],
        commit_message=f"ExPO model {manifest.fingerprint[:16]}",
        parent_commit=head.checkpoint.commit,
    )
    release_lease(_copies(manifest))
    remove_tree(_copies(manifest), cache_folder())
    return commit.oid


def _uploaded(
    api: HfApi, model: Artefact, repo_id: str, manifest: Manifest, advance: Callable[[int], None]
) -> Operations:
    """The files of a model in a store, with the content of the large ones on the Hub."""
    operations: Operations = [CommitOperationAdd(MANIFEST, model.read(MANIFEST) or b"")]
    copies = _copies(manifest)
    hold_lease(copies)
    for file in sorted(manifest.files, key=lambda file: -file.size):
        operations.append(_upload(api, repo_id, file, model.fetch(file.name, copies)))
        advance(file.size)
        if model.local is None and file.size > LARGEST_GIT_FILE:
            inside(copies, file.name).unlink()
    return operations


def _copies(manifest: Manifest) -> Path:
    return cache_folder() / "publish" / manifest.fingerprint[:16]


def _renew(repo_id: str, name: str, renewed: Callable[[bytes | None], bytes], message: str) -> str:
    """The commit that has the small file as `renewed` makes it of the held one: the head, or one more."""
    head = HubSource(repo_id)
    held = head.fetch(name).read_bytes() if name in head.files() else None
    content = renewed(held)
    if content == held:
        return head.checkpoint.commit
    commit = HfApi().create_commit(
        repo_id,
        [CommitOperationAdd(name, content)],
        commit_message=message,
        parent_commit=head.checkpoint.commit,
    )
    return commit.oid


def _check_card(repo_id: str, card: str) -> None:
    """Lets the Hub check the card's metadata before anything is uploaded."""
    try:
        with hub_errors(repo_id):
            ModelCard(card).validate()
    except (ValueError, YAMLError) as error:
        raise InputError(f"{repo_id}: the model card's metadata is wrong: {error}") from error


def _upload(api: HfApi, repo_id: str, file: ModelFile, path: Path) -> CommitOperationAdd:
    """Uploads a large file's content, which the Hub shows only after the commit."""
    operation = CommitOperationAdd(file.name, path)
    if operation.upload_info.sha256.hex() != file.sha256:
        raise CorruptError(f"{path}: not what the model's manifest says; make the model again")
    api.preupload_lfs_files(repo_id, [operation])
    return operation


def _compare(folder: Path, repo_id: str, commit: str) -> None:
    """The Hub's own comparison of its listing with the local files, which it hashes again."""
    compare = partial(HfApi().verify_repo_checksums, repo_id, revision=commit, local_dir=folder)
    if differing := [mismatch["path"] for mismatch in with_retries(repo_id, compare).mismatches]:
        raise CorruptError(
            f"{repo_id}@{commit[:12]}: {', '.join(differing)} differ from {folder}; make the model again"
        )


def _verify(published: HubSource, manifest: Manifest) -> None:
    """Compares the published files with the manifest."""
    if name := differing(published, manifest):
        raise CorruptError(
            f"{published.checkpoint.uri}@{published.checkpoint.commit[:12]}: {name} is not what was "
            "published; delete the repository and publish again"
        )


def _verify_branch(repo_id: str, branch: str, manifest: Manifest) -> None:
    """The same for the branch, before the model is published: a shard may have been damaged on its way."""
    if name := differing(HubSource(repo_id, branch), manifest):
        close_branch(repo_id, manifest.fingerprint)
        raise CorruptError(
            f"{repo_id}@{branch}: {name} is not what the manifest says; nothing was published and the "
            "branch is gone: run the same command again"
        )
