"""Publishes a model with its card: from a store, or written straight to the Hub."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.core.errors import ExpoError, InputError
from tasks.core.families import registry
from tasks.publishing.branch import open_branch
from tasks.publishing.commit import Published, publish
from tasks.publishing.model_card import License, license_of, model_card
from tasks.stats.decision import Verdict
from tasks.stores.artefact import Artefact
from tasks.stores.open import reopen
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.manifest import read_manifest
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.recipe import Recipe

__all__ = ["extrapolate_and_publish", "publish_with_card", "repository_of"]

_log = logging.getLogger(__name__)


def publish_with_card(
    model: Artefact,
    repo_id: str,
    verdicts: Sequence[Verdict] = (),
    *,
    private: bool = True,
    sign_with: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Published:
    """`tasks.publishing.commit.publish` with a card made of the manifest and the verdicts.

    A model that is there already gets the new card if there are verdicts now; a card with
    verdicts is never replaced by one without.

    Raises:
        InputError, CorruptError: there is no manifest, or it cannot be read; and as `publish`.
    """
    content = model.manifest()
    if content is None:
        raise InputError(f"{model.uri}: no manifest, so there is no whole model; extrapolate first")
    manifest = read_manifest(content)
    card = model_card(manifest, repo_id, _license(manifest.recipe), verdicts, _alpha_source(manifest.recipe))
    return publish(
        model,
        repo_id,
        card=card,
        renew_card=bool(verdicts),
        private=private,
        sign_with=sign_with,
        advance=advance,
    )


def extrapolate_and_publish(
    plan: Plan,
    parents: Parents,
    repo_id: str,
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    advance: Callable[[int], None] = lambda _: None,
    *,
    sign_with: Path | None = None,
) -> Published:
    """Writes a model straight to the Hub, privately; the local disk holds only the shards in progress.

    The shards collect on a branch of the repository; then one commit publishes the model. After an
    interruption only the missing shards are made. Call `find_published` first: it makes the
    repository, and finds a model that is there already.

    Raises:
        InputError, PermanentError, RetryableError: as `publish`.
        MismatchError, CorruptError: as `extrapolate` and `publish`.
    """
    model = open_branch(repo_id, plan.recipe.fingerprint)
    extrapolate(plan, *parents, model, options, advance)
    return publish_with_card(model, repo_id, sign_with=sign_with)


def repository_of(target: str, aligned: str) -> str:
    """The repository for a family: `target` itself if it is org/name, else in that namespace <aligned>-ExPO.

    Raises:
        InputError: the target is neither.
    """
    parts = target.split("/")
    if len(parts) > 2 or not all(parts):
        raise InputError(
            f"publish to {target!r}: give a namespace of the Hub (org) or a repository (org/name)"
        )
    name = aligned.rpartition("/")[2].replace(":", "-")
    return target if len(parts) == 2 else f"{target}/{name}-ExPO"


def _license(recipe: Recipe) -> License:
    """The aligned model's, if that can still be read."""
    try:
        return license_of(reopen(recipe.aligned))
    except ExpoError as error:
        _log.warning("the card names no license: %s", error)
        return License()


def _alpha_source(recipe: Recipe) -> str | None:
    """Where the registry has this pair's α from; None for another pair, or another α."""
    for family in registry().values():
        if (family.aligned, family.sft, family.alpha) == (recipe.aligned.uri, recipe.sft.uri, recipe.alpha):
            return family.alpha_source
    return None
