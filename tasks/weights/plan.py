"""The plan: which bytes of which files make each output shard. Every refusal happens here."""

import math
import re
from collections.abc import Iterable, Mapping

from tasks.errors import MismatchError
from tasks.stores.source import Source
from tasks.values import Value, fingerprint
from tasks.weights.checkpoint import CheckpointLayout, read_checkpoint
from tasks.weights.headers import ITEM_BYTES, TensorRange, build_header
from tasks.weights.recipe import Recipe

__all__ = ["Plan", "ShardJob", "TensorJob", "make_plan", "shard_header"]

# Computed from the config by every engine, not trained: taken from the aligned side.
BUFFER = re.compile(r"(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|position_ids|masked_bias)$")
FLOATS = ("BF16", "F16", "F32")
OUTPUT = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


class TensorJob(Value):
    """One tensor of the output.

    dtype, shape  of the output, dtype in the words of safetensors
    alpha         its α, after the recipe's patterns
    aligned, sft  where the inputs lie; sft is None for a buffer, copied from the aligned side
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    alpha: float
    aligned: TensorRange
    sft: TensorRange | None

    @property
    def elements(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Length of the output in bytes."""
        return self.elements * ITEM_BYTES[self.dtype]


class ShardJob(Value):
    """One output shard.

    file           its name in the model folder
    tensors        in the order of their bytes in the shard
    aligned_files  the input files that it needs of the aligned checkpoint
    sft_files      …and of the SFT checkpoint
    bytes          size of the shard, header included
    """

    recipe: Recipe
    file: str
    tensors: tuple[TensorJob, ...]
    aligned_files: tuple[str, ...]
    sft_files: tuple[str, ...]
    bytes: int

    @property
    def fingerprint(self) -> str:
        """sha256 of the job: a shard made by an equal job has the same bytes."""
        return fingerprint(self)


class Plan(Value):
    """All of the work of one recipe, and its size.

    side_files    copied byte for byte from the aligned checkpoint
    skipped       buffers that only the SFT checkpoint has
    parameters    number of extrapolated elements
    output_bytes  of all shards
    input_bytes   of both checkpoints' weight files
    """

    recipe: Recipe
    shards: tuple[ShardJob, ...]
    side_files: tuple[str, ...]
    skipped: tuple[str, ...]
    parameters: int
    output_bytes: int
    input_bytes: int


def make_plan(recipe: Recipe, aligned: Source, sft: Source) -> Plan:
    """Reads both checkpoints' headers and lays the output out.

    Raises:
        MismatchError: the two do not fit; it names every mismatch and what to do.
        InputError, CorruptError: as `read_checkpoint`.
    """
    ours, theirs = read_checkpoint(aligned), read_checkpoint(sft)
    mismatches = list(_mismatches(recipe, ours.tensors, theirs.tensors))
    if mismatches:
        lines = "\n  ".join(mismatches)
        raise MismatchError(f"{recipe.aligned.uri} and {recipe.sft.uri} do not fit each other:\n  {lines}")
    jobs = [_tensor_job(recipe, name, tensor, theirs) for name, tensor in ours.tensors.items()]
    shards = tuple(_shard(recipe, file, tensors) for file, tensors in _cut(recipe, jobs))
    return Plan(
        recipe=recipe,
        shards=shards,
        side_files=ours.side_files,
        skipped=tuple(name for name in theirs.tensors if name not in ours.tensors),
        parameters=sum(job.elements for job in jobs if job.sft),
        output_bytes=sum(shard.bytes for shard in shards),
        input_bytes=_weight_bytes(aligned, ours) + _weight_bytes(sft, theirs),
    )


def shard_header(tensors: Iterable[TensorJob]) -> bytes:
    """The first bytes of a shard with these tensors."""
    return build_header((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors)


def _mismatches(
    recipe: Recipe, ours: Mapping[str, TensorRange], theirs: Mapping[str, TensorRange]
) -> Iterable[str]:
    """One line for each reason why the two checkpoints cannot be combined."""
    if recipe.arithmetic == "parity" and recipe.output_dtype not in (None, "bfloat16"):
        yield f"arithmetic 'parity' writes bfloat16, not {recipe.output_dtype}; leave output_dtype out"
    for name in theirs:
        if name not in ours and not BUFFER.search(name):
            yield f"{name}: only in the SFT checkpoint; is this the model that the aligned one came from?"
    for name, tensor in ours.items():
        if BUFFER.search(name):
            continue
        other = theirs.get(name)
        if other is None:
            yield f"{name}: only in the aligned checkpoint; is the other its SFT model?"
        elif tensor.shape != other.shape:
            yield f"{name}: shape {list(tensor.shape)} against {list(other.shape)} of the SFT checkpoint"
        elif not {tensor.dtype, other.dtype} <= set(FLOATS):
            yield f"{name}: {tensor.dtype} and {other.dtype}; only {', '.join(FLOATS)} can be extrapolated"


def _tensor_job(recipe: Recipe, name: str, tensor: TensorRange, theirs: CheckpointLayout) -> TensorJob:
    buffer = BUFFER.search(name) is not None
    dtype = tensor.dtype if buffer else _output_dtype(recipe, tensor)
    return TensorJob(
        name=name,
        dtype=dtype,
        shape=tensor.shape,
        alpha=_alpha(recipe, name),
        aligned=tensor,
        sft=None if buffer else theirs.tensors[name],
    )


def _output_dtype(recipe: Recipe, tensor: TensorRange) -> str:
    if recipe.arithmetic == "parity":
        return "BF16"
    return OUTPUT[recipe.output_dtype] if recipe.output_dtype else tensor.dtype


def _alpha(recipe: Recipe, name: str) -> float:
    for module in recipe.module_alphas:
        if re.search(module.pattern, name):
            return module.alpha
    return recipe.alpha


def _cut(recipe: Recipe, jobs: list[TensorJob]) -> list[tuple[str, list[TensorJob]]]:
    """(file name, tensors) of each output shard, in the order of the aligned checkpoint's bytes."""
    if recipe.shard_bytes is None:
        shards: dict[str, list[TensorJob]] = {}
        for job in jobs:
            shards.setdefault(job.aligned.file, []).append(job)
        return list(shards.items())
    cuts: list[list[TensorJob]] = [[]]
    room = recipe.shard_bytes
    for job in jobs:
        if cuts[-1] and job.nbytes > room:
            cuts.append([])
            room = recipe.shard_bytes
        cuts[-1].append(job)
        room -= job.nbytes
    return [(_shard_name(number, len(cuts)), cut) for number, cut in enumerate(cuts, start=1)]


def _shard_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def _shard(recipe: Recipe, file: str, tensors: list[TensorJob]) -> ShardJob:
    # Wide items first keeps every tensor aligned to its item's size, as the format's own writer does.
    tensors = sorted(tensors, key=lambda job: -ITEM_BYTES[job.dtype])
    header = shard_header(tensors)
    return ShardJob(
        recipe=recipe,
        file=file,
        tensors=tuple(tensors),
        aligned_files=tuple(sorted({job.aligned.file for job in tensors})),
        sft_files=tuple(sorted({job.sft.file for job in tensors if job.sft})),
        bytes=len(header) + sum(job.nbytes for job in tensors),
    )


def _weight_bytes(source: Source, layout: CheckpointLayout) -> int:
    files = source.files()
    return sum(files[name].size for name in layout.weight_files)
