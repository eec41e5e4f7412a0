"""Stage download: the input files of one output shard, verified, on this machine's disk."""

from tasks.stage import stage
from tasks.stores.source import reopen
from tasks.weights.plan import ShardJob

__all__ = ["download"]


@stage("download {job.file}")
def download(job: ShardJob) -> None:
    """Fetches what the shard reads; files that are here already cost a look.

    Raises:
        CorruptError: a file's digest is not the Hub's, twice.
        RetryableError: the Hub did not answer.
    """
    for checkpoint, files in ((job.recipe.aligned, job.aligned_files), (job.recipe.sft, job.sft_files)):
        source = reopen(checkpoint)
        for name in files:
            source.fetch(name)
