"""Checks a model's index, headers and side files against its parents, for `tasks.weights.verify`.

The manifest lists digests, but a changed file can come with a changed digest. So these files are
compared with what a plan of the two parents gives.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Literal

from tasks.core.errors import CorruptError
from tasks.core.values import Value
from tasks.stores.hub_download import in_order
from tasks.stores.source import Source
from tasks.weights.adapter_output import expected_files
from tasks.weights.checkpoint import INDEX
from tasks.weights.folder import changed_side_file
from tasks.weights.jobs import Plan, shard_header
from tasks.weights.library_layout import library_layout
from tasks.weights.manifest import Manifest, build_index
from tasks.weights.pass_options import Parents

__all__ = ["Difference", "Kind", "files_of_parents", "layout", "sha256_in"]

Kind = Literal[
    "manifest",
    "missing",
    "size",
    "sha256",
    "unknown file",
    "folder",
    "parent",
    "side file",
    "index",
    "layout",
    "tensor",
    "signature",
]


class Difference(Value):
    """One difference: its kind, its file, and what to do."""

    kind: Kind
    file: str
    message: str


def sha256_in(source: Source, name: str, size: int) -> str:
    """The digest of a file, read by ranges: no copy of it is made here."""
    digest = hashlib.sha256()
    for content in in_order(partial(source.read, name), 0, size):
        digest.update(content)
    return digest.hexdigest()


def files_of_parents(plan: Plan, manifest: Manifest, parents: Parents) -> Iterator[Difference]:
    """Files that the parents do not give, and files whose content differs from what they give."""
    listed = {file.name: file for file in manifest.files}
    scaled = expected_files(plan.recipe, *parents) if plan.recipe.adapter == "scale" else {}
    sides = {
        **dict.fromkeys(plan.side_files, parents.aligned),
        **dict.fromkeys(plan.sft_side_files, parents.sft),
    }
    expected = {*sides, *(shard.file for shard in plan.shards), *(scaled or (INDEX,))}
    for name in sorted(expected - set(listed)):
        yield Difference(kind="missing", file=name, message="the parents give it, and the manifest lacks it")
    for name in sorted(set(listed) - expected):
        message = "it is in the manifest, but nothing of the parents gives it"
        yield Difference(kind="unknown file", file=name, message=message)
    if (
        not scaled
        and INDEX in listed
        and hashlib.sha256(build_index(plan)).hexdigest() != listed[INDEX].sha256
    ):
        yield Difference(kind="index", file=INDEX, message="not the index of the parents' tensors")
    for name in sorted(set(sides) & set(listed)):
        if _side_file(name, plan, sides[name]) != listed[name].sha256:
            parent = sides[name].checkpoint
            message = f"not the file of {parent.uri} at {parent.commit[:18]}"
            yield Difference(kind="side file", file=name, message=message)
    for name in sorted(set(scaled) & set(listed)):
        if scaled[name] != listed[name].sha256:
            message = f"it is not what its parents give at α = {plan.recipe.alpha}"
            yield Difference(kind="tensor", file=name, message=message)


def layout(plan: Plan, manifest: Manifest, model: Source) -> Iterator[Difference]:
    """Shards whose size or header differs from the plan's, so that tensors may lie elsewhere."""
    sizes = {file.name: file.size for file in manifest.files}
    for shard in plan.shards:
        if sizes.get(shard.file) != shard.bytes:
            yield Difference(
                kind="layout",
                file=shard.file,
                message=f"the parents give a shard of {shard.bytes} bytes, not of {sizes.get(shard.file)}",
            )
            continue
        try:
            found = library_layout(model, shard.file)
        except CorruptError as error:
            yield Difference(kind="layout", file=shard.file, message=str(error))
            continue
        if found != [(tensor.name, tensor.dtype, tensor.shape) for tensor in shard.tensors]:
            message = "the safetensors library finds other names, dtypes, shapes or another order"
            yield Difference(kind="layout", file=shard.file, message=message)
            continue
        header = shard_header(shard.tensors)
        if model.read(shard.file, 0, len(header)) != header:
            message = "its header has other places or metadata than the parents give"
            yield Difference(kind="layout", file=shard.file, message=message)


def _side_file(name: str, plan: Plan, aligned: Source) -> str:
    """The sha256 that the file should have."""
    info = aligned.files()[name]
    content = (
        changed_side_file(name, plan, aligned.read(name, 0, info.size)) if name == "config.json" else None
    )
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    return info.sha256 or sha256_in(aligned, name, info.size)
