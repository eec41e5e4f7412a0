"""The commands about places of models: publish, gc, and `expo extrapolate --out hf://…`.

They load neither Prefect nor vLLM.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.stats.decision import Verdict
    from tasks.stores.artefact import Artefact
    from tasks.weights.pass_options import Parents, PassOptions
    from tasks.weights.recipe import Recipe

__all__ = ["SIGN", "extrapolate_to_hub", "gc", "publish"]


SIGN = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        metavar="KEY",
        help="Sign with this private key (PEM, elliptic curve): model.sig, in the format of model-signing.",
    ),
]


def publish(
    model: Annotated[str, typer.Argument(help="An extrapolated model: a folder or s3://….")],
    repository: Annotated[str, typer.Argument(help="Where on the Hub: org/name, made if need be.")],
    public: Annotated[bool, typer.Option("--public", help="For everybody to see.")] = False,
    store: Annotated[
        str | None,
        typer.Option(
            help="Whose reports have the verdict for the card; default: the store that MODEL is in."
        ),
    ] = None,
    sign: SIGN = None,
) -> None:
    """Uploads a model with its card to the Hugging Face Hub, in one commit; private by default.

    For a model that is there already, updates only the model card, if there is a verdict for it.
    """
    from flows.cli.tables import progress_bar
    from flows.library.pair_models import place_of
    from tasks.publishing.publication import publish_with_card
    from tasks.stores.artefact import Artefact
    from tasks.weights.signature import check_private_key

    if sign:
        check_private_key(sign)
    artefact = Artefact(place_of(model))
    verdicts = _verdicts(artefact, store)
    total = sum(artefact.size(name) or 0 for name in artefact.names())
    with progress_bar("publishing", total) as advance:
        published = publish_with_card(
            artefact, repository, verdicts, private=not public, sign_with=sign, advance=advance
        )
    print(f"{published.url}: {'public' if public else 'private'}, with {len(verdicts) or 'no'} verdicts")


def extrapolate_to_hub(
    recipe: "Recipe", parents: "Parents", repo_id: str, options: "PassOptions", sign: Path | None
) -> None:
    """Writes a model straight to a repository, after checks of the headers and of the repository."""
    from flows.cli.tables import progress_bar
    from tasks.publishing.commit import find_published
    from tasks.publishing.publication import extrapolate_and_publish
    from tasks.weights.planner import make_plan

    plan = make_plan(recipe, *parents)
    published = find_published(repo_id, recipe.fingerprint, sign_with=sign)
    if published is None:
        with progress_bar("extrapolating", plan.output_bytes) as advance:
            published = extrapolate_and_publish(plan, parents, repo_id, options, advance, sign_with=sign)
    print(f"{published.url}: private, α = {str(recipe.alpha).removesuffix('.0')}")


def gc(
    store: Annotated[str, typer.Argument(help="A store: a folder or s3://bucket/prefix.")],
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
    older_than: Annotated[
        float,
        typer.Option(min=0, metavar="DAYS", help="Leave alone what is younger: it may be in the making."),
    ] = 7.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """Lists files that no manifest references: unfinished artefacts, strays, transfers that were given up."""
    from flows.cli.tables import orphans_table, print_values
    from flows.library.pair_models import place_of
    from tasks.stores.gc import find_orphans, remove

    found = find_orphans(place_of(store), timedelta(days=older_than))
    if as_json:
        print_values(found)
    else:
        orphans_table(found)
    if delete:
        for orphan in found:
            remove(orphan)
    if as_json:
        return
    done = "removed" if delete else "would be removed by --delete"
    print(f"{len(found)} orphans, {sum(orphan.bytes for orphan in found) / 1e9:.2f} GB {done}")


def _verdicts(model: "Artefact", store: str | None) -> "tuple[Verdict, ...]":
    """The verdicts on this model in its store's reports; none for a model outside a store."""
    from tasks.reports.stored import verdicts_of
    from tasks.stores.artefact import Store
    from tasks.weights.manifest import read_manifest

    own, folder, _ = model.uri.rpartition("/models/")
    if store is None and not folder:
        return ()
    content = model.manifest()
    if content is None:  # `publish_with_card` refuses it
        return ()
    return verdicts_of(Store(store or own), read_manifest(content).fingerprint)
