"""Stage download: the input files of one output shard, verified, on this machine's disk."""

from tasks.runtime.limits import HUB_DOWNLOADS, hold
from tasks.runtime.stage import stage
from tasks.stores.open import reopen
from tasks.weights.jobs import ShardJob
from tasks.weights.prefetch import fetch_inputs

__all__ = ["download"]


@stage("download {job.file}")
def download(job: ShardJob) -> None:
    """Fetches what the shard reads; files that are here already are only checked, equal ones fetched once.

    Raises:
        CorruptError: a file's digest is not the Hub's, twice.
        RetryableError: the Hub did not answer.
    """
    with hold(HUB_DOWNLOADS):
        fetch_inputs(job, reopen(job.recipe.aligned), reopen(job.recipe.sft))
