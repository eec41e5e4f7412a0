"""Stage publish: a whole model goes to the Hub, with its card. Only where a run was told to."""

from tasks.core.errors import CorruptError
from tasks.publishing.commit import Published
from tasks.publishing.publication import publish_with_card
from tasks.reports.run_report import FamilyReport
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stats.decision import Verdict
from tasks.stores.artefact import Artefact, Store
from tasks.verdict import FAMILY_REPORT
from tasks.weights.folder import model_artefact
from tasks.weights.recipe import Recipe

__all__ = ["publish"]


@stage("publish {repo_id}")
def publish(recipe: Recipe, repo_id: str, verdict: str | None, store: str) -> Published:
    """One private commit with everything; `verdict` is the uri of the family's report, if there is one.

    Of a model that is there already only the card is renewed, when its verdict is new.

    Raises:
        InputError: the repository holds something else, or is public.
        PermanentError: HF_TOKEN may not do this.
        RetryableError: the Hub is busy or cannot be reached.
    """
    published = publish_with_card(model_artefact(Store(store), recipe), repo_id, _verdicts(verdict))
    run_logger().info(f"published: {published.url}")
    return published


def _verdicts(uri: str | None) -> tuple[Verdict, ...]:
    if uri is None:
        return ()
    content = Artefact(uri).read(FAMILY_REPORT)
    if content is None:
        raise CorruptError(f"{uri}: no {FAMILY_REPORT} in this artefact; run the family again")
    return FamilyReport.model_validate_json(content).verdicts
