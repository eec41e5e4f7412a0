"""Limits how many shards are downloaded at once, so that others are computed and uploaded meanwhile.

All shards of a process at once would first share the network inwards and then, all together,
outwards: a family would take the time of both. With half of the usual workers receiving, it
takes about the time of the slower direction (`python -m tests.performance.overlap`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Source
from tasks.weights.identical import identical_files, without_identical
from tasks.weights.jobs import ShardJob

__all__ = ["are_local", "fetch_inputs", "limit_incoming"]

SHARDS_AT_ONCE = 2  # each with several ranges in flight, which fill a link
_turns = BoundedSemaphore(SHARDS_AT_ONCE)


def are_local(*sources: Source) -> bool:
    """Whether nothing has to come over a network."""
    return all(isinstance(source, FolderSource) for source in sources)


@contextmanager
def limit_incoming(*sources: Source) -> Iterator[None]:
    """Waits until a shard may come in from these sources; local ones never wait."""
    if are_local(*sources):
        yield
    else:
        with _turns:
            yield


def fetch_inputs(job: ShardJob, aligned: Source, sft: Source) -> None:
    """Brings the input files of a shard to this disk, verified; equal ones come once.

    Raises:
        CorruptError: a file's digest is not the stated one, twice.
        RetryableError: the Hub or the store did not answer.
    """
    job = without_identical(job, identical_files(aligned, sft))
    with limit_incoming(aligned, sft):
        for source, files in ((aligned, job.aligned_files), (sft, job.sft_files)):
            for name in files:
                source.fetch(name)
