"""Stage upload: a finished shard goes into the store, then its receipt."""

from pathlib import Path

from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.weights.folder import model_artefact, put_shard
from tasks.weights.jobs import ShardJob
from tasks.weights.receipts import ShardPart, ShardReceipt

__all__ = ["upload"]


@stage("upload {job.file} α={job.recipe.alpha:g}")
def upload(job: ShardJob, part: ShardPart, store: str) -> ShardReceipt:
    """Moves the part into the model's artefact.

    Raises:
        RetryableError: the store did not answer.
    """
    put_shard(part.receipt, Path(part.path), model_artefact(Store(store), job.recipe))
    return part.receipt
