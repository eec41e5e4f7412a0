"""Checks of a Hub repository before a model is published there, and afterwards."""

from functools import partial

from huggingface_hub import HfApi

from tasks.core.errors import CorruptError, InputError
from tasks.stores.artefact import MANIFEST
from tasks.stores.disk import sha256_of
from tasks.stores.hub import HubSource
from tasks.stores.hub_errors import with_retries
from tasks.stores.hub_files import NEW_REPOSITORY
from tasks.weights.manifest import Manifest, read_manifest

__all__ = ["differing", "holds", "open_repository", "prepare_repository"]


def prepare_repository(repo_id: str, fingerprint: str, private: bool = True) -> HubSource:
    """Makes the repository if need be, and checks whether a model of this fingerprint may go there.

    A run that publishes calls it before anything else is done.

    Raises:
        InputError: the repository holds something else or is of the other visibility.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    return with_retries(repo_id, partial(open_repository, repo_id, fingerprint, private))


def open_repository(repo_id: str, fingerprint: str, private: bool) -> HubSource:
    """`prepare_repository` without retries, for callers that retry more; raises the client's exceptions."""
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    _require_visibility(api, repo_id, private)
    head = HubSource(repo_id)
    holds(head, fingerprint)
    return head


def _require_visibility(api: HfApi, repo_id: str, private: bool) -> None:
    """Refuses a repository that was there before with the other visibility."""
    if bool(api.repo_info(repo_id).private) != private:
        raise InputError(
            f"{repo_id}: this repository is {'public' if private else 'private'} already; "
            "choose another, or change its settings on the Hub"
        )


def holds(head: HubSource, fingerprint: str) -> bool:
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


def differing(held: HubSource, manifest: Manifest) -> str | None:
    """The first of the model's files that differs on the Hub, without fetching large ones."""
    listed = held.files()
    for file in manifest.files:
        found = listed[file.name].sha256 if file.name in listed else ""
        if found is None:  # in git, which knows another digest
            found = sha256_of(held.fetch(file.name))
        if found != file.sha256:
            return file.name
    return None
