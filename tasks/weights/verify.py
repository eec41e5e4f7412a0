"""Is a model what its manifest says, and are its tensors what its parents give?

Two questions, asked of the files and not of the program that wrote them: every file is
hashed again, shards are opened by the safetensors library, and tensors are computed again from
the parents by numpy (`tasks.weights.reference`), without the buffers, threads and compiled loops
of `tasks.weights.shard_writer` and without torch. Everything is read by ranges, so a model in S3
or on the Hub needs no disk here.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.core.values import Value
from tasks.stores.artefact import MANIFEST
from tasks.stores.hub_download import in_order
from tasks.stores.source import Checkpoint, Source, is_hub_commit
from tasks.weights.headers import ITEM_BYTES
from tasks.weights.jobs import ShardJob, TensorJob, shard_header
from tasks.weights.library_layout import library_layout
from tasks.weights.manifest import Manifest, ModelFile, read_manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Arithmetic
from tasks.weights.reference import NUMPY_DTYPES, equal_values, extrapolate_reference
from tasks.weights.slots import spans

__all__ = ["Difference", "Kind", "Verification", "verify"]

Kind = Literal["manifest", "missing", "size", "sha256", "unknown file", "parent", "layout", "tensor"]

ELEMENTS = 1 << 22
"""That are computed again at a time."""


HUBS_OWN = {".gitattributes", "README.md"}
"""What a repository of the Hub has beside a model's files."""


class Difference(Value):
    """One thing that is not as it should be: of which kind, in which file, and what to do."""

    kind: Kind
    file: str
    message: str


class Verification(Value):
    """What was looked at and what was wrong; a model without differences is as it was made.

    files    number of files that were hashed
    tensors  names of the tensors that were computed again
    """

    files: int
    tensors: tuple[str, ...]
    differences: tuple[Difference, ...]


def verify(
    model: Source,
    open_parent: Callable[[Checkpoint], Source] | None = None,
    tensors: int | Literal["all"] = 16,
) -> Verification:
    """Hashes every file of a model, and computes `tensors` of its tensors again.

    `open_parent` opens a parent at exactly its commit, or says by a PermanentError why not
    (`tasks.stores.open.reopen`); without it only files are checked. The tensors are taken
    at equal distances through the whole model, the same at each call.

    Raises:
        InputError: there is no manifest: no model, or one that is not finished.
        RetryableError: a store or the Hub did not answer.
    """
    files = model.files()
    if MANIFEST not in files:
        raise InputError(f"{model.checkpoint.uri}: no {MANIFEST}; it is no model of ours, or not finished")
    try:
        manifest = read_manifest(model.read(MANIFEST, 0, files[MANIFEST].size))
    except CorruptError as error:
        return _only("manifest", str(error))
    differences = [*_files(manifest, model)]
    if open_parent is None or differences:
        return Verification(files=len(manifest.files), tensors=(), differences=tuple(differences))
    names, found = _tensors(manifest, model, open_parent, tensors)
    return Verification(files=len(manifest.files), tensors=names, differences=tuple(found))


def _only(kind: Kind, message: str) -> Verification:
    return Verification(
        files=0, tensors=(), differences=(Difference(kind=kind, file=MANIFEST, message=message),)
    )


def _files(manifest: Manifest, model: Source) -> Iterator[Difference]:
    """Whatever differs between the manifest's list and the files that are there."""
    there = model.files()
    for file in manifest.files:
        held = there.get(file.name)
        if held is None:
            yield Difference(kind="missing", file=file.name, message="it is in the manifest, but not there")
        elif held.size != file.size:
            yield Difference(kind="size", file=file.name, message=f"{held.size} bytes, not {file.size}")
        elif (found := _sha256(model, file)) != file.sha256:
            yield Difference(kind="sha256", file=file.name, message=f"sha256 {found}, not {file.sha256}")
    others = set(there) - {file.name for file in manifest.files} - {MANIFEST}
    for name in sorted(others - (HUBS_OWN if is_hub_commit(model.checkpoint.commit) else set())):
        yield Difference(kind="unknown file", file=name, message="it is there, but not in the manifest")


def _sha256(model: Source, file: ModelFile) -> str:
    digest = hashlib.sha256()
    for content in in_order(partial(model.read, file.name), 0, file.size):
        digest.update(content)
    return digest.hexdigest()


def _tensors(
    manifest: Manifest,
    model: Source,
    open_parent: Callable[[Checkpoint], Source],
    count: int | Literal["all"],
) -> tuple[tuple[str, ...], list[Difference]]:
    """The names of the tensors that were computed again, and what differs."""
    recipe = manifest.recipe
    try:
        parents = open_parent(recipe.aligned), open_parent(recipe.sft)
        plan = make_plan(recipe, *parents)
    except PermanentError as error:
        message = f"its tensors cannot be made again: {error}"
        return (), [Difference(kind="parent", file=MANIFEST, message=message)]
    differences = [*_layout(plan.shards, manifest.files, model)]
    if differences:
        return (), differences
    everything = [(shard, tensor) for shard in plan.shards for tensor in shard.tensors]
    step = 1 if count == "all" else max(1, len(everything) // max(1, count))
    sample = everything[::step] if count == "all" else everything[::step][:count]
    for shard, tensor in sample:
        written = partial(model.read, shard.file)
        if not _equal(tensor, parents, recipe.arithmetic, written, _begin(shard, tensor)):
            message = f"tensor {tensor.name!r} is not what its parents give at α = {tensor.alpha}"
            differences.append(Difference(kind="tensor", file=shard.file, message=message))
    return tuple(tensor.name for _, tensor in sample), differences


def _layout(shards: Sequence[ShardJob], files: Sequence[ModelFile], model: Source) -> Iterator[Difference]:
    sizes = {file.name: file.size for file in files}
    for shard in shards:
        if sizes.get(shard.file) != shard.bytes:
            message = (
                f"the parents give a shard of {shard.bytes} bytes, the manifest has {sizes.get(shard.file)}"
            )
            yield Difference(kind="layout", file=shard.file, message=message)
            continue
        try:
            found = library_layout(model, shard.file)
        except CorruptError as error:
            yield Difference(kind="layout", file=shard.file, message=str(error))
            continue
        if found != [(tensor.name, tensor.dtype, tensor.shape) for tensor in shard.tensors]:
            message = "the safetensors library finds other names, dtypes, shapes or another order"
            yield Difference(kind="layout", file=shard.file, message=message)


def _begin(shard: ShardJob, tensor: TensorJob) -> int:
    """Where the tensor's bytes begin in its shard."""
    before = shard.tensors[: shard.tensors.index(tensor)]
    return len(shard_header(shard.tensors)) + sum(one.nbytes for one in before)


def _equal(
    tensor: TensorJob,
    parents: tuple[Source, Source],
    arithmetic: Arithmetic,
    written: Callable[[int, int], bytes],
    begin: int,
) -> bool:
    """`written` reads a range of the shard, in which the tensor begins at byte `begin`."""
    return all(
        equal_values(written(begin + first * ITEM_BYTES[tensor.dtype], len(content)), content, tensor.dtype)
        for first, content in _computed(tensor, parents, arithmetic)
    )


def _computed(
    tensor: TensorJob, parents: tuple[Source, Source], arithmetic: Arithmetic
) -> Iterator[tuple[int, bytes]]:
    """(first element, bytes) of the tensor, part by part, as it should be."""

    def load(source: Source, file: str, offset: int, dtype: str, elements: int) -> NDArray[Any]:
        content = source.read(file, offset, elements * ITEM_BYTES[dtype])
        return np.frombuffer(content, dtype=NUMPY_DTYPES[dtype])

    aligned, sft = tensor.aligned, tensor.sft
    for start, elements, sft_start in spans(tensor):
        for done in range(0, elements, ELEMENTS):
            count, first = min(ELEMENTS, elements - done), start + done
            offset = aligned.offset + first * ITEM_BYTES[aligned.dtype]
            if sft is None:
                yield first, parents[0].read(aligned.file, offset, count * ITEM_BYTES[aligned.dtype])
                continue
            new = old = load(parents[0], aligned.file, offset, aligned.dtype, count)
            if sft_start is not None:
                offset = sft.offset + (sft_start + done) * ITEM_BYTES[sft.dtype]
                old = load(parents[1], sft.file, offset, sft.dtype, count)
            yield first, extrapolate_reference(new, old, tensor.alpha, arithmetic, tensor.dtype).tobytes()
