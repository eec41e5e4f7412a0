"""One output shard, at one α or several, in one pass over its inputs: what is checked before and after."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tasks.core.errors import InputError, MismatchError
from tasks.stores.disk import check_room
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Source
from tasks.weights.headers import ITEM_BYTES
from tasks.weights.identical import identical_files, without_identical
from tasks.weights.inputs import InputMode, Inputs, Reader
from tasks.weights.jobs import ShardJob
from tasks.weights.memory import memory_budget
from tasks.weights.part_file import PartFile
from tasks.weights.pass_options import THREADS, Device, Parents, PassOptions
from tasks.weights.pipeline import Pipeline
from tasks.weights.prefetch import limit_incoming
from tasks.weights.receipts import InputCheck, ShardReceipt
from tasks.weights.recipe import Recipe
from tasks.weights.streaming import AHEAD, RANGE_BYTES, StreamedInputs, reads_of
from tasks.weights.worker_kinds import FACTORS_HELD, worker_factory

__all__ = ["Advance", "held_memory", "shard_memory", "write_shard", "write_shards"]

Side = Literal["aligned", "sft"]
Advance = Callable[[int], None]

SLOT_BYTES = 4 << 20
# What a thread holds for its inputs: two buffers of two slots each; an output is one.
INPUT_SLOTS = 4


def write_shard(
    job: ShardJob,
    aligned: Source,
    sft: Source,
    part: Path,
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    advance: Advance = lambda _: None,
) -> ShardReceipt:
    """Writes the whole shard at `part`, replacing what was there; returns its receipt.

    `advance` is called with the number of bytes of output that were made since its last
    call, by one thread at a time.

    Raises:
        MismatchError: a source is not at the recipe's commit, or changed while it was read.
        CorruptError: an input ends early, or holds NaN or Inf and the recipe does not allow them.
        PermanentError: the disk has too little room, or is full.
    """
    return write_shards([job], Parents(aligned, sft), [part], options, advance)[0]


def write_shards(
    jobs: Sequence[ShardJob],
    parents: Parents,
    parts: Sequence[Path],
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    advance: Advance = lambda _: None,
) -> tuple[ShardReceipt, ...]:
    """The same shard at several α, its inputs read once: `write_shard` for each job and part.

    Waits while other shards of this process hold the memory that it needs.
    """
    job, inputs = jobs[0], options.inputs
    _check_jobs(jobs)
    _check_commits(job.recipe, parents)
    check_room(parts[0].parent, len(jobs) * job.bytes)
    place = _place(options.device)
    same = identical_files(*parents)
    reading = [without_identical(job, same) for job in jobs]
    with (
        limit_incoming(*parents) if inputs == "stream" else nullcontext(),
        memory_budget().hold(shard_memory(len(jobs), inputs, options.threads) + held_memory(job)),
        _reader("aligned", parents.aligned, reading[0], inputs) as aligned,
        _reader("sft", parents.sft, reading[0], inputs) as sft,
        ExitStack() as stack,
    ):
        files = [stack.enter_context(PartFile(part, job.bytes)) for part in parts]
        pipeline = Pipeline(reading, files, SLOT_BYTES, advance)
        pipeline.run(worker_factory(reading, aligned, sft, SLOT_BYTES, place), options.threads)
        checks = (
            *_checks("aligned", parents.aligned, aligned, job.aligned_files, job.aligned_files),
            *_checks("sft", parents.sft, sft, job.sft_files, reading[0].sft_files),
        )
        digests = [file.finish() for file in files]
        _check_commits(job.recipe, parents)
    return tuple(
        ShardReceipt(
            job=job.fingerprint,
            file=job.file,
            size=job.bytes,
            sha256=digest,
            inputs=checks,
            statistics=statistics,
        )
        for job, digest, statistics in zip(jobs, digests, pipeline.statistics(), strict=True)
    )


def shard_memory(jobs: int, inputs: InputMode = "download", threads: int = THREADS) -> int:
    """What a pass of so many jobs holds in bytes, whatever the model's size."""
    # Of each checkpoint one range more than those ahead is being read.
    ranges = 2 * (AHEAD + 1) * RANGE_BYTES if inputs == "stream" else 0
    return threads * (INPUT_SLOTS + jobs) * SLOT_BYTES + ranges


def held_memory(job: ShardJob, threads: int = THREADS) -> int:
    """What a pass holds beside those buffers: an adapter's factors, an fp8 side's scales and raw slots."""
    largest = max((tensor.low_rank.nbytes for tensor in job.tensors if tensor.low_rank), default=0)
    scales = [*job.scales("aligned"), *job.scales("sft")]
    grids = sum(math.prod(scale.shape) * ITEM_BYTES["F32"] for scale in scales)
    return (FACTORS_HELD + 1) * largest + grids + (threads * SLOT_BYTES // 2 if scales else 0)


def _reader(side: Side, source: Source, job: ShardJob, inputs: InputMode) -> Reader:
    """A folder's files are read in their place, whatever the mode; an adapter is fetched whole."""
    small = side == "aligned" and job.recipe.adapter is not None
    if inputs == "stream" and not isinstance(source, FolderSource) and not small:
        return StreamedInputs(source, reads_of(job, side))
    return Inputs(source, job.aligned_files if side == "aligned" else job.sft_files)


def _place(device: Device) -> str:
    if device == "cpu":
        return device
    if find_spec("torch") is None:
        if device == "auto":
            return "cpu"
        raise InputError("device 'cuda': no torch here; pip install 'expo-flows[cuda]', or use 'cpu'")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': there is no CUDA device here; use 'cpu' or 'auto'")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_jobs(jobs: Sequence[ShardJob]) -> None:
    def without_alpha(job: ShardJob) -> ShardJob:
        recipe = job.recipe.model_copy(update={"alpha": 0.0, "module_alphas": ()})
        tensors = tuple(tensor.model_copy(update={"alpha": 0.0}) for tensor in job.tensors)
        return job.model_copy(update={"recipe": recipe, "tensors": tensors})

    if any(without_alpha(job) != without_alpha(jobs[0]) for job in jobs):
        raise InputError("jobs of one pass may differ in alpha only; write the others on their own")


def _check_commits(recipe: Recipe, parents: Parents) -> None:
    """A folder's commit covers sizes and times: looked at before and after, it shows any change between."""
    for wanted, source in zip((recipe.aligned, recipe.sft), parents, strict=True):
        now = FolderSource(source.folder(), wanted.uri) if isinstance(source, FolderSource) else source
        if now.checkpoint != wanted:
            raise MismatchError(f"{wanted.uri} changed since it was planned at {wanted.commit}; run again")


def _checks(
    side: Side, source: Source, reader: Reader, files: Sequence[str], read: Sequence[str]
) -> Iterator[InputCheck]:
    for file in files:
        info = source.files()[file]
        check = reader.check(file) if file in read else "not read"
        yield InputCheck(side=side, file=file, size=info.size, sha256=info.sha256, check=check)
