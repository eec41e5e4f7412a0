"""One output file at every α: what is not finished yet is downloaded, written and put into its models.

A run on one machine calls the three steps directly; the flow runs each as a task, retried by itself.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tasks.stores.artefact import Artefact
from tasks.weights.folder import finished_shard, put_shard
from tasks.weights.jobs import ShardJob
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.prefetch import fetch_inputs
from tasks.weights.receipts import ShardPart, ShardReceipt
from tasks.weights.shard_writer import Advance, write_shards

__all__ = ["DirectSteps", "ShardSteps", "make_shard", "put_part", "write_parts"]

Receipts = tuple[ShardReceipt, ...]


class ShardSteps(Protocol):
    """The steps that make a shard, in this order; each raises what the function of its own raises."""

    def download(self, job: ShardJob) -> None:
        """Brings the input files of the shard to this machine's disk; nothing where they are streamed."""

    def extrapolate(self, jobs: tuple[ShardJob, ...]) -> tuple[ShardPart, ...]:
        """Writes a part for each job, in one pass over the inputs."""

    def upload(self, job: ShardJob, part: ShardPart) -> ShardReceipt:
        """Puts a part into its model."""


def make_shard(
    jobs: Sequence[ShardJob],
    models: Sequence[Artefact],
    steps: ShardSteps,
    on_finished: Callable[[Receipts], None],
) -> Receipts:
    """The receipts of one output file in each model; what an earlier run finished is checked, not done again.

    Args:
        jobs: of one file; they differ in α.
        models: the model of each job.
        on_finished: gets the receipts that an earlier run left, if any.

    Raises:
        MismatchError, CorruptError, PermanentError, RetryableError: as the steps do.
    """
    earlier = [finished_shard(job, model) for job, model in zip(jobs, models, strict=True)]
    receipts = {receipt.job: receipt for receipt in earlier if receipt}
    if receipts:
        on_finished(tuple(receipts.values()))
    left = tuple(job for job in jobs if job.fingerprint not in receipts)
    if left:
        steps.download(left[0])
        for job, part in zip(left, steps.extrapolate(left), strict=True):
            receipts[job.fingerprint] = steps.upload(job, part)
    return tuple(receipts[job.fingerprint] for job in jobs)


def write_parts(
    jobs: Sequence[ShardJob],
    models: Sequence[Artefact],
    parents: Parents,
    options: PassOptions,
    advance: Advance,
) -> tuple[ShardPart, ...]:
    """Writes each job's shard to its model's scratch folder; see `write_shards` for what it raises."""
    paths = [model.part(job.file) for job, model in zip(jobs, models, strict=True)]
    receipts = write_shards(jobs, parents, paths, options, advance)
    return tuple(
        ShardPart(path=str(path), receipt=receipt) for path, receipt in zip(paths, receipts, strict=True)
    )


def put_part(part: ShardPart, model: Artefact) -> ShardReceipt:
    """Moves a part into its model and gives its receipt; see `put_shard`."""
    put_shard(part.receipt, Path(part.path), model)
    return part.receipt


class DirectSteps:
    """The steps as plain calls."""

    def __init__(
        self,
        jobs: Sequence[ShardJob],
        models: Sequence[Artefact],
        parents: Parents,
        options: PassOptions,
        advance: Advance,
    ) -> None:
        """`advance` gets the bytes of output as they are written."""
        self._models = dict(zip((job.fingerprint for job in jobs), models, strict=True))
        self._parents, self._options, self._advance = parents, options, advance

    def download(self, job: ShardJob) -> None:
        """See `ShardSteps`."""
        if self._options.inputs == "download":
            fetch_inputs(job, *self._parents)

    def extrapolate(self, jobs: tuple[ShardJob, ...]) -> tuple[ShardPart, ...]:
        """See `ShardSteps`."""
        models = [self._models[job.fingerprint] for job in jobs]
        return write_parts(jobs, models, self._parents, self._options, self._advance)

    def upload(self, job: ShardJob, part: ShardPart) -> ShardReceipt:
        """See `ShardSteps`."""
        return put_part(part, self._models[job.fingerprint])
