"""The branch of a repository on which a model is put together before it is published."""

from functools import partial

from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from tasks.stores.artefact import Artefact
from tasks.stores.hub_errors import with_retries

__all__ = ["branch_in", "close_branch", "open_branch"]


def open_branch(repo_id: str, recipe: str) -> Artefact:
    """Where the model of a recipe (its fingerprint) is put together; what a killed run left there is kept.

    Raises:
        InputError: there is no such repository.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    create = partial(HfApi().create_branch, repo_id, branch=_branch(recipe), exist_ok=True)
    with_retries(repo_id, create)
    return Artefact(f"hf://{repo_id}@{_branch(recipe)}")


def close_branch(repo_id: str, recipe: str) -> None:
    """Removes the branch of a model that is published, if there is one; raises as `open_branch`."""

    def remove() -> None:
        try:
            HfApi().delete_branch(repo_id, branch=_branch(recipe))
        except RevisionNotFoundError:
            return

    with_retries(repo_id, remove)


def branch_in(repo_id: str, uri: str) -> str | None:
    """The branch that an artefact's uri names, if it is one of this repository."""
    begin = f"hf://{repo_id}@"
    return uri.removeprefix(begin) if uri.startswith(begin) else None


def _branch(recipe: str) -> str:
    return f"expo-{recipe[:16]}"
