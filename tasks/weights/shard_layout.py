"""How an output's tensors are cut into shards."""

from collections.abc import Iterator, Sequence

from tasks.weights.checkpoint import CheckpointLayout
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.jobs import ShardJob, TensorJob, shard_header
from tasks.weights.recipe import Recipe

__all__ = ["lay_out", "output_dtype"]

OUTPUT = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
SHARD_BYTES = 5_000_000_000
DEQUANTIZED = "BF16"


def lay_out(recipe: Recipe, layout: CheckpointLayout, jobs: Sequence[TensorJob]) -> tuple[ShardJob, ...]:
    """The shards of an output; `layout` is the checkpoint's whose tensors, in their order, it has."""
    return tuple(_shard(recipe, file, tensors) for file, tensors in _cut(recipe, layout, jobs))


def output_dtype(recipe: Recipe, tensor: TensorRange) -> str:
    """The dtype in which an extrapolated tensor is written."""
    if recipe.arithmetic == "parity":
        return "BF16"
    if recipe.output_dtype:
        return OUTPUT[recipe.output_dtype]
    return tensor.dtype if tensor.scale is None else DEQUANTIZED


def _cut(
    recipe: Recipe, layout: CheckpointLayout, jobs: Sequence[TensorJob]
) -> list[tuple[str, list[TensorJob]]]:
    """(file name, tensors) of each output shard, in the order of the checkpoint's bytes."""
    if recipe.shard_bytes is None and layout.form == "safetensors":
        shards: dict[str, list[TensorJob]] = {}
        for job in jobs:
            shards.setdefault(_home(recipe, job).file, []).append(job)
        return list(shards.items())
    cuts: list[list[TensorJob]] = [[]]
    size = recipe.shard_bytes or SHARD_BYTES
    room = size
    for job in jobs:
        if cuts[-1] and job.nbytes > room:
            cuts.append([])
            room = size
        cuts[-1].append(job)
        room -= job.nbytes
    return [(_shard_name(number, len(cuts)), cut) for number, cut in enumerate(cuts, start=1)]


def _shard_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def _shard(recipe: Recipe, file: str, tensors: list[TensorJob]) -> ShardJob:
    # Wide items first keeps every tensor aligned to its item's size, as the format's own writer does.
    tensors = sorted(tensors, key=lambda job: -ITEM_BYTES[job.dtype])
    return ShardJob(
        recipe=recipe,
        file=file,
        tensors=tuple(tensors),
        aligned_files=tuple(sorted({file for job in tensors for file in _aligned_files(job)})),
        sft_files=tuple(
            sorted({file for job in tensors for place in job.sft_places for file in place.files})
        ),
        bytes=len(shard_header(tensors)) + sum(job.nbytes for job in tensors),
    )


def _home(recipe: Recipe, job: TensorJob) -> TensorRange:
    """Where the tensor lies in the checkpoint that the output is laid out like."""
    home = job.sft if recipe.adapter else job.aligned
    assert home is not None
    return home


def _aligned_files(job: TensorJob) -> Iterator[str]:
    if job.aligned is not None:
        yield from job.aligned.files
    if job.low_rank is not None:
        yield job.low_rank.a.file
