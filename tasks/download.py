"""Stage download: the input files of one output shard, verified, on this machine's disk."""

from tasks.runtime.limits import HUB_DOWNLOADS, hold
from tasks.runtime.recorder import begin_work
from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.open import reopen
from tasks.weights.jobs import ShardJob
from tasks.weights.prefetch import fetch_inputs

__all__ = ["download"]


@stage(lambda job: f"download {job.file}, {models_title([job.recipe], alphas=False)}")
def download(job: ShardJob) -> None:
    """Fetches what the shard reads; files that are here already are only checked, equal ones fetched once.

    Raises:
        CorruptError: a file's digest is not the Hub's, twice.
        RetryableError: the Hub did not answer.
    """
    with hold(HUB_DOWNLOADS):
        begin_work()
        fetch_inputs(job, reopen(job.recipe.aligned), reopen(job.recipe.sft))
