"""Stage shard: download (or stream), extrapolate, upload, on one worker, shard by shard.

The three are tasks of their own, each retried by itself; this one keeps them on one
machine, whose disk they share.
"""

from tasks.download import download
from tasks.extrapolate import extrapolate
from tasks.runtime.progress import run_logger
from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.upload import upload
from tasks.weights.folder import model_artefact
from tasks.weights.inputs import InputMode
from tasks.weights.jobs import ShardJob
from tasks.weights.receipts import ShardPart, ShardReceipt
from tasks.weights.shard_steps import make_shard

__all__ = ["shard"]


@stage(lambda jobs: f"shard {jobs[0].file}, {models_title([job.recipe for job in jobs])}", retries=0)
def shard(jobs: tuple[ShardJob, ...], store: str, inputs: InputMode = "download") -> tuple[ShardReceipt, ...]:
    """One output file at every α; what an earlier run finished is only checked, not done again.

    Raises:
        MismatchError, CorruptError, PermanentError, RetryableError: as the three stages do.
    """
    models = [model_artefact(Store(store), job.recipe) for job in jobs]

    def log_finished(receipts: tuple[ShardReceipt, ...]) -> None:
        run_logger().info(f"finished before, and whole, at {len(receipts)} of {len(jobs)} alphas")

    return make_shard(jobs, models, _TaskSteps(store, inputs), log_finished)


class _TaskSteps:
    """The steps as task runs."""

    def __init__(self, store: str, inputs: InputMode) -> None:
        self._store, self._inputs = store, inputs

    def download(self, job: ShardJob) -> None:
        if self._inputs == "download":
            download(job)

    def extrapolate(self, jobs: tuple[ShardJob, ...]) -> tuple[ShardPart, ...]:
        return extrapolate(jobs, self._store, self._inputs)

    def upload(self, job: ShardJob, part: ShardPart) -> ShardReceipt:
        return upload(job, part, self._store)
