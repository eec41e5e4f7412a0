"""Stage seal: side files, the index, and last the manifest. From then on the model is whole."""

from tasks.runtime.lineage import emit_materialized
from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.stores.open import reopen
from tasks.weights.folder import model_artefact
from tasks.weights.folder import seal as write_manifest
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import Parents
from tasks.weights.receipts import ShardReceipt

__all__ = ["seal"]


@stage(lambda plan: f"seal {models_title([plan.recipe])}")
def seal(plan: Plan, receipts: tuple[ShardReceipt, ...], store: str) -> str:
    """Completes the model; gives its uri in the store."""
    model = model_artefact(Store(store), plan.recipe)
    write_manifest(plan, receipts, Parents(reopen(plan.recipe.aligned), reopen(plan.recipe.sft)), model)
    recipe = plan.recipe
    metadata = {
        "alpha": recipe.alpha,
        "fingerprint": recipe.fingerprint,
        "aligned_commit": recipe.aligned.commit,
        "sft_commit": recipe.sft.commit,
    }
    emit_materialized(model.uri, (recipe.aligned.uri, recipe.sft.uri), metadata)
    return model.uri
