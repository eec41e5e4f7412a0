"""The manifest of an extrapolated model: it says that the model is whole, and of what it was made."""

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Literal

from pydantic import Field

from tasks.core.errors import CorruptError
from tasks.core.names import FileName, Sha256
from tasks.core.values import Value
from tasks.weights.jobs import Plan
from tasks.weights.receipts import InputCheck, ShardReceipt, TensorStatistics
from tasks.weights.recipe import Recipe
from tasks.weights.refusals import examples

__all__ = ["Manifest", "ModelFile", "build_index", "build_manifest", "matching_notices", "read_manifest"]

SCHEMA_VERSION: Literal[1] = 1


class ModelFile(Value):
    """A file of the model: its name, its size in bytes and its sha256 (64 hex digits)."""

    name: FileName
    size: int = Field(ge=0)
    sha256: Sha256


class Manifest(Value):
    """All that is known of an extrapolated model.

    schema_version  of this description; it changes whenever a field's meaning does
    recipe          everything that decided the bytes: both parents at their commits, α, policies
    fingerprint     sha256 of the recipe
    code_version    of the program that wrote the model
    files           every other file of the model, sorted by name
    inputs          the parents' weight files, and what was checked of each
    skipped         what only the SFT checkpoint has and nothing was made of
    copied          what only the aligned checkpoint has, or is no parameter: taken over as it is
    notices         how the pair was matched where names, rows or files did not speak for themselves
    statistics      the update, tensor by tensor, in the order of the shards
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    recipe: Recipe
    fingerprint: Sha256
    code_version: str
    files: tuple[ModelFile, ...]
    inputs: tuple[InputCheck, ...]
    skipped: tuple[str, ...]
    copied: tuple[str, ...] = Field(default=(), exclude_if=lambda copied: not copied)
    notices: tuple[str, ...] = Field(default=(), exclude_if=lambda notices: not notices)
    statistics: tuple[TensorStatistics, ...]


def matching_notices(matched: Plan | Manifest) -> tuple[str, ...]:
    """How a pair was matched where it was not by equal names alone: one line each."""
    lines = list(matched.notices)
    if matched.copied:
        lines.append(f"copied from the aligned side: {examples(matched.copied)}")
    if matched.skipped:
        lines.append(f"skipped of the SFT side: {examples(matched.skipped)}")
    return tuple(lines)


def build_manifest(
    plan: Plan,
    receipts: Sequence[ShardReceipt],
    others: Iterable[ModelFile],
    other_inputs: Iterable[InputCheck] = (),
) -> Manifest:
    """The manifest of a model of these shards, in the plan's order, and these other files.

    `other_inputs` were read for no shard.
    """
    shards = [ModelFile(name=receipt.file, size=receipt.size, sha256=receipt.sha256) for receipt in receipts]
    checks = [*other_inputs, *(check for receipt in receipts for check in receipt.inputs)]
    inputs = {(check.side, check.file): check for check in checks}
    return Manifest(
        recipe=plan.recipe,
        fingerprint=plan.recipe.fingerprint,
        code_version=version("expo-flows"),
        files=tuple(sorted([*shards, *others], key=lambda file: file.name)),
        inputs=tuple(inputs[key] for key in sorted(inputs)),
        skipped=plan.skipped,
        copied=plan.copied,
        notices=plan.notices,
        statistics=tuple(tensor for receipt in receipts for tensor in receipt.statistics),
    )


def read_manifest(content: bytes) -> Manifest:
    """A manifest as it was written.

    Raises:
        CorruptError: it is damaged, of another version of this description, or edited: a file that
            it names is none of a folder, or its recipe does not have its fingerprint.
    """
    try:
        found = json.loads(content)
        version_found = found.get("schema_version") if isinstance(found, dict) else None
        if version_found not in (None, SCHEMA_VERSION):
            raise CorruptError(
                f"a manifest of schema version {version_found}, written by version "
                f"{found.get('code_version')} of this program; this one reads {SCHEMA_VERSION}, use that one"
            )
        manifest = Manifest.model_validate_json(content)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise CorruptError(f"a damaged manifest ({reason}); the model has to be made again") from error
    if manifest.fingerprint != manifest.recipe.fingerprint:
        raise CorruptError(
            "an edited manifest (its recipe does not have its fingerprint); the model has to be made again"
        )
    names = [file.name for file in manifest.files]
    if len(set(names)) != len(names):
        raise CorruptError("an edited manifest (it names a file twice); the model has to be made again")
    return manifest


def build_index(plan: Plan) -> bytes:
    """The index that transformers and vLLM read: total size, and tensor name → file."""
    weight_map = {tensor.name: shard.file for shard in plan.shards for tensor in shard.tensors}
    total = sum(tensor.nbytes for shard in plan.shards for tensor in shard.tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    return json.dumps(index, indent=2).encode() + b"\n"
