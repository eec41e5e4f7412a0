"""Stage upload: a finished shard goes into the store, then its receipt."""

from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.weights.folder import model_artefact
from tasks.weights.jobs import ShardJob
from tasks.weights.receipts import ShardPart, ShardReceipt
from tasks.weights.shard_steps import put_part

__all__ = ["upload"]


@stage(lambda job: f"upload {job.file}, {models_title([job.recipe])}")
def upload(job: ShardJob, part: ShardPart, store: str) -> ShardReceipt:
    """Moves the part into the model's artefact.

    Raises:
        RetryableError: the store did not answer.
    """
    return put_part(part, model_artefact(Store(store), job.recipe))
