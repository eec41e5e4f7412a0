"""Checks a model's files against its manifest, and its tensors against its parents.

Nothing of the program that wrote the model is trusted: every file is hashed again, shards are
opened by the safetensors library, and tensors are computed again from the parents by numpy
(`tasks.weights.reference`), without the buffers, threads and compiled loops of
`tasks.weights.shard_writer` and without torch. Everything is read by ranges, so a model in S3 or on
the Hub needs no disk here.
"""

import random
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.core.values import Value
from tasks.stores.artefact import CLAIM, MANIFEST
from tasks.stores.source import Checkpoint, Source, is_hub_commit
from tasks.weights.adapter import read_adapter
from tasks.weights.headers import ITEM_BYTES, TensorRange
from tasks.weights.jobs import Plan, ShardJob, TensorJob, shard_header
from tasks.weights.manifest import Manifest, read_manifest
from tasks.weights.pass_options import Parents
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Arithmetic
from tasks.weights.reference import (
    NUMPY_DTYPES,
    dequantize_reference,
    equal_values,
    extrapolate_reference,
)
from tasks.weights.signature import LARGEST, SIGNATURE, signature_fault
from tasks.weights.slots import spans
from tasks.weights.verify_files import Difference, Kind, files_of_parents, layout, sha256_in

__all__ = ["Difference", "Kind", "Verification", "verify"]

ELEMENTS = 1 << 22
"""That are computed again at a time."""


LARGEST_MANIFEST = 1_000_000_000  # bytes; 100,000 tensors have 50 MB
PARENTS = "everything that depends on the parents: index, headers, side files, tensors"
TENSORS = "the values of the tensors"
SIGNED = f"its signature, {SIGNATURE}: give the public key of who made the model with --key"

HUBS_OWN = {".gitattributes", "README.md"}
"""What a repository of the Hub has beside a model's files."""


class Verification(Value):
    """What was checked and what was wrong; a model without differences is as it was written.

    files      number of files that were hashed
    tensors    names of the tensors that were computed again
    seed       of the sample that they are
    unchecked  what was not checked, in sentences
    """

    files: int
    tensors: tuple[str, ...]
    differences: tuple[Difference, ...]
    seed: int | None = None
    unchecked: tuple[str, ...] = ()


def verify(
    model: Source,
    open_parent: Callable[[Checkpoint], Source] | None = None,
    tensors: int | Literal["all"] = 16,
    seed: int | None = None,
    public_key: bytes | None = None,
) -> Verification:
    """Hashes every file of a model, holds it against its parents, and computes tensors again.

    The parents decide which files there are, what is in index, headers and side files, and what each
    tensor is. The tensors are the first and the last of every shard and `tensors` others, drawn at
    random: by `seed`, or by one that the result names (0: none at all).

    `open_parent` opens a parent at exactly its commit, or says by a PermanentError why not
    (`tasks.stores.open.reopen`); without it the files are only hashed. With the PEM of a public key the
    model has to have a signature of that key.

    Raises:
        InputError: there is no manifest: no model, or one that is not finished.
        RetryableError: a store or the Hub did not answer.
    """
    files = model.files()
    if MANIFEST not in files:
        raise InputError(f"{model.checkpoint.uri}: no {MANIFEST}; no model of this program, or not finished")
    if files[MANIFEST].size > LARGEST_MANIFEST:
        return _only("manifest", f"{files[MANIFEST].size} bytes are too many for a manifest")
    content = model.read(MANIFEST, 0, files[MANIFEST].size)
    try:
        manifest = read_manifest(content)
    except CorruptError as error:
        return _only("manifest", str(error))
    differences = (*_files(manifest, model), *_signature(model, content, public_key))
    unsigned = (SIGNED,) if public_key is None and SIGNATURE in files else ()
    if open_parent is None or differences:
        found = Verification(
            files=len(manifest.files), tensors=(), differences=differences, unchecked=(PARENTS,)
        )
    else:
        found = _against_parents(manifest, model, open_parent, tensors, seed)
    return found.model_copy(update={"unchecked": (*found.unchecked, *unsigned)})


def _only(kind: Kind, message: str) -> Verification:
    return Verification(
        files=0, tensors=(), differences=(Difference(kind=kind, file=MANIFEST, message=message),)
    )


def _files(manifest: Manifest, model: Source) -> Iterator[Difference]:
    """Differences between the manifest's list and the files that are there."""
    there = model.files()
    for file in manifest.files:
        held = there.get(file.name)
        if held is None:
            yield Difference(kind="missing", file=file.name, message="it is in the manifest, but not there")
        elif held.size != file.size:
            yield Difference(kind="size", file=file.name, message=f"{held.size} bytes, not {file.size}")
        elif (found := sha256_in(model, file.name, file.size)) != file.sha256:
            yield Difference(kind="sha256", file=file.name, message=f"sha256 {found}, not {file.sha256}")
    others = set(there) - {file.name for file in manifest.files} - {MANIFEST, CLAIM, SIGNATURE}
    for name in sorted(others - (HUBS_OWN if is_hub_commit(model.checkpoint.commit) else set())):
        yield Difference(kind="unknown file", file=name, message="it is there, but not in the manifest")
    for name in model.folders():
        yield Difference(kind="folder", file=name, message="a model has no folders in it")


def _signature(model: Source, manifest: bytes, public_key: bytes | None) -> Iterator[Difference]:
    if public_key is None:
        return
    held = model.files().get(SIGNATURE)
    if held is None:
        fault: str | None = "it is not there: the model is not signed"
    else:
        signature = model.read(SIGNATURE, 0, min(held.size, LARGEST + 1))
        fault = signature_fault(signature, manifest, public_key)
    if fault:
        yield Difference(kind="signature", file=SIGNATURE, message=fault)


def _against_parents(
    manifest: Manifest,
    model: Source,
    open_parent: Callable[[Checkpoint], Source],
    count: int | Literal["all"],
    seed: int | None,
) -> Verification:
    recipe, files = manifest.recipe, len(manifest.files)
    try:
        parents = Parents(open_parent(recipe.aligned), open_parent(recipe.sft))
        plan = make_plan(recipe, *parents)
    except PermanentError as error:
        message = f"its tensors cannot be made again: {error}"
        found = (Difference(kind="parent", file=MANIFEST, message=message),)
        return Verification(files=files, tensors=(), differences=found, unchecked=(PARENTS,))
    differences = [*files_of_parents(plan, manifest, parents), *layout(plan, manifest, model)]
    if any(difference.kind == "layout" for difference in differences):
        return Verification(files=files, tensors=(), differences=tuple(differences), unchecked=(TENSORS,))
    seed = secrets.randbits(32) if seed is None else seed
    sample = _sample(plan, count, seed)
    for shard, tensor in sample:
        written = partial(model.read, shard.file)
        if not _equal(tensor, parents, recipe.arithmetic, written, _begin(shard, tensor)):
            message = f"tensor {tensor.name!r} is not what its parents give at α = {tensor.alpha}"
            differences.append(Difference(kind="tensor", file=shard.file, message=message))
    left = sum(len(shard.tensors) for shard in plan.shards) - len(sample)
    names = tuple(tensor.name for _, tensor in sample)
    if recipe.adapter == "scale":  # compared as files, since it is small
        names = tuple(read_adapter(parents.aligned).modules)
    return Verification(
        files=files,
        tensors=names,
        differences=tuple(differences),
        seed=None if count == "all" else seed,
        unchecked=(f"the values of {left} other tensors",) if left else (),
    )


def _sample(plan: Plan, count: int | Literal["all"], seed: int) -> list[tuple[ShardJob, TensorJob]]:
    """In the order of the shards: the first and last tensor of each, and `count` others."""
    everything = [(shard, tensor) for shard in plan.shards for tensor in shard.tensors]
    if count == "all":
        return everything
    ends = {(shard.file, tensor.name) for shard in plan.shards for tensor in shard.tensors[:: _stride(shard)]}
    others = [item for item in everything if (item[0].file, item[1].name) not in ends]
    drawn = random.Random(seed).sample(others, min(count, len(others)))
    chosen = {(shard.file, tensor.name) for shard, tensor in drawn} | (ends if count else set())
    return [item for item in everything if (item[0].file, item[1].name) in chosen]


def _stride(shard: ShardJob) -> int:
    """From the first tensor of a shard to its last."""
    return max(1, len(shard.tensors) - 1)


def _begin(shard: ShardJob, tensor: TensorJob) -> int:
    """Where the tensor's bytes begin in its shard."""
    before = shard.tensors[: shard.tensors.index(tensor)]
    return len(shard_header(shard.tensors)) + sum(tensor.nbytes for tensor in before)


def _equal(
    tensor: TensorJob,
    parents: Parents,
    arithmetic: Arithmetic,
    written: Callable[[int, int], bytes],
    begin: int,
) -> bool:
    """`written` reads a range of the shard, in which the tensor begins at byte `begin`."""
    return all(
        equal_values(written(begin + first * ITEM_BYTES[tensor.dtype], len(content)), content, tensor.dtype)
        for first, content in _computed(tensor, parents, arithmetic)
    )


def _computed(tensor: TensorJob, parents: Parents, arithmetic: Arithmetic) -> Iterator[tuple[int, bytes]]:
    """(first element, expected bytes) of the tensor, part by part."""

    if tensor.low_rank is not None:
        from tasks.weights.merge_formula import merged_rows

        yield from merged_rows(tensor, parents)
        return
    aligned, sft, sources = tensor.aligned, tensor.sft, parents
    if aligned is None:  # a tensor that the adapter leaves alone
        assert sft is not None
        aligned, sources = sft, Parents(parents.sft, parents.sft)
        sft = sft if tensor.extrapolated else None
    for start, elements, sft_start in spans(tensor):
        for done in range(0, elements, ELEMENTS):
            count, first = min(ELEMENTS, elements - done), start + done
            if sft is None and aligned.scale is None:
                item = ITEM_BYTES[aligned.dtype]
                yield first, sources.aligned.read(aligned.file, aligned.offset + first * item, count * item)
                continue
            new = old = _values(sources.aligned, aligned, first, count)
            if sft is not None and sft_start is not None:
                old = _values(sources.sft, tensor.sft_at(start) or sft, sft_start + done, count)
            alpha = 0.0 if sft is None else tensor.alpha
            yield first, extrapolate_reference(new, old, alpha, arithmetic, tensor.dtype).tobytes()


def _values(source: Source, place: TensorRange, first: int, count: int) -> NDArray[Any]:
    """Elements [first, first + count) of a tensor."""
    item = ITEM_BYTES[place.dtype]
    content = source.read(place.file, place.offset + first * item, count * item)
    if (scale := place.scale) is None:
        return np.frombuffer(content, dtype=NUMPY_DTYPES[place.dtype])
    factors = np.frombuffer(source.read(scale.file, scale.offset, scale.nbytes), NUMPY_DTYPES[scale.dtype])
    grid = factors.reshape(scale.shape).astype(np.float32)
    return dequantize_reference(content, first, place.shape[1], grid, scale.block)
