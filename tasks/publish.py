"""Stage publish: uploads a complete model to the Hub, with its card. Runs only if `publish_to` is set."""

from tasks.publishing.commit import Published
from tasks.publishing.publication import publish_with_card
from tasks.reports.stored import read_family_report
from tasks.runtime.lineage import emit_materialized
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.weights.folder import model_artefact
from tasks.weights.recipe import Recipe

__all__ = ["publish"]


@stage("publish {repo_id} α={recipe.alpha:g}")
def publish(recipe: Recipe, repo_id: str, verdict: str | None, store: str) -> Published:
    """One private commit with everything; `verdict` is the uri of the family's report, if there is one.

    Of a model that is there already only the card is renewed, when its verdict is new.

    Raises:
        InputError: the repository holds something else, or is public.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    verdicts = read_family_report(verdict).verdicts if verdict else ()
    model = model_artefact(Store(store), recipe)
    published = publish_with_card(model, repo_id, verdicts)
    metadata = {"alpha": recipe.alpha, "fingerprint": recipe.fingerprint}
    emit_materialized(f"hf://{repo_id}", (model.uri,), metadata, url=published.url)
    run_logger().info(f"published: {published.url}")
    return published
