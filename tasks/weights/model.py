"""A model folder in the making: shards arrive one by one, the manifest makes it whole.

model-00001-of-00003.safetensors
model-00001-of-00003.safetensors.receipt.json     until the model is sealed
…
config.json, tokenizer.json, …                    the aligned checkpoint's, byte for byte
model.safetensors.index.json
manifest.json                                     last
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.errors import CorruptError, InputError
from tasks.stores.artefact import Artefact
from tasks.stores.source import Source, sha256_of
from tasks.weights.checkpoint import INDEX
from tasks.weights.manifest import Manifest, ModelFile
from tasks.weights.plan import Plan, ShardJob
from tasks.weights.receipts import InputCheck, ShardReceipt
from tasks.weights.shard import Device, write_shard

__all__ = ["extrapolate", "finished_model", "finished_shard", "put_shard", "seal"]

RECEIPT = ".receipt.json"


def put_shard(receipt: ShardReceipt, part: Path, model: Artefact) -> None:
    """Moves a shard into the model, then its receipt: who finds the receipt finds the shard."""
    model.put(part, receipt.file)
    model.write(receipt.file + RECEIPT, receipt.model_dump_json().encode())


def finished_shard(job: ShardJob, model: Artefact) -> ShardReceipt | None:
    """The receipt of an equal job whose file is there with its size and sha256, else None."""
    content = model.read(job.file + RECEIPT)
    if content is None:
        return None
    try:
        receipt = ShardReceipt.model_validate_json(content)
    except ValueError:  # cut off, or of another version
        return None
    if receipt.job != job.fingerprint or model.size(receipt.file) != receipt.size:
        return None
    with TemporaryDirectory(prefix="expo-") as folder:
        return receipt if sha256_of(model.fetch(receipt.file, Path(folder))) == receipt.sha256 else None


def finished_model(plan: Plan, model: Artefact) -> Manifest | None:
    """The manifest of a model that is whole, None where there is none yet.

    Raises:
        InputError: the folder holds another recipe's model, or files that are no model's.
    """
    content = model.manifest()
    if content is not None:
        manifest = _manifest(content)
        if manifest is None or manifest.fingerprint != plan.recipe.fingerprint:
            raise InputError(f"{model.uri}: another model is in this folder; give an empty one")
        return manifest
    expected = {shard.file for shard in plan.shards} | {shard.file + RECEIPT for shard in plan.shards}
    others = sorted(set(model.names()) - expected - {*plan.side_files, INDEX})
    if others:
        raise InputError(f"{model.uri}: the folder holds {', '.join(others[:5])}; give an empty one")
    return None


def seal(plan: Plan, receipts: Sequence[ShardReceipt], aligned: Source, model: Artefact) -> Manifest:
    """Copies the side files, writes the index, removes the receipts and writes the manifest, last."""
    missing = {shard.file for shard in plan.shards} - {receipt.file for receipt in receipts}
    if missing:
        raise CorruptError(
            f"{model.uri}: no receipt of {', '.join(sorted(missing))}; run the extrapolation again"
        )
    files = [ModelFile(name=one.file, size=one.size, sha256=one.sha256) for one in receipts]
    for name in plan.side_files:
        model.copy_in(aligned.fetch(name), name)
        path = aligned.fetch(name)
        files.append(ModelFile(name=name, size=path.stat().st_size, sha256=sha256_of(path)))
    index = _index(plan)
    model.write(INDEX, index)
    files.append(ModelFile(name=INDEX, size=len(index), sha256=hashlib.sha256(index).hexdigest()))
    manifest = Manifest(
        recipe=plan.recipe,
        fingerprint=plan.recipe.fingerprint,
        code_version=version("expo-flows"),
        files=tuple(sorted(files, key=lambda file: file.name)),
        inputs=_inputs(receipts),
        skipped=plan.skipped,
        statistics=tuple(one for receipt in receipts for one in receipt.statistics),
    )
    for shard in plan.shards:
        model.remove(shard.file + RECEIPT)
    model.seal(manifest.model_dump_json(indent=1).encode())
    return manifest


def extrapolate(
    plan: Plan,
    aligned: Source,
    sft: Source,
    model: Artefact,
    *,
    workers: int = 2,
    device: Device = "auto",
    advance: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """The whole job on one machine: every shard that is not finished yet, then the seal.

    A run that was killed is resumed: only the shards that were in flight are done again. A
    model that is whole is returned as it is. `advance` gets bytes of output, also for shards
    that were finished before.

    Raises:
        InputError: the folder holds something else.
        MismatchError, CorruptError: as `write_shard`.
    """
    manifest = finished_model(plan, model)
    if manifest:
        advance(plan.output_bytes)
        return manifest

    def make(job: ShardJob) -> ShardReceipt:
        receipt = finished_shard(job, model)
        if receipt:
            advance(receipt.size)
            return receipt
        part = model.scratch() / f"{job.file}.{os.getpid()}.part"
        receipt = write_shard(job, aligned, sft, part, device=device, advance=advance)
        put_shard(receipt, part, model)
        return receipt

    with ThreadPoolExecutor(workers) as pool:
        receipts = list(pool.map(make, plan.shards))
    return seal(plan, receipts, aligned, model)


def _manifest(content: bytes) -> Manifest | None:
    try:
        return Manifest.model_validate_json(content)
    except ValueError:
        return None


def _index(plan: Plan) -> bytes:
    """The index that transformers and vLLM read: total size and tensor name → file."""
    weight_map = {tensor.name: shard.file for shard in plan.shards for tensor in shard.tensors}
    total = sum(tensor.nbytes for shard in plan.shards for tensor in shard.tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    return json.dumps(index, indent=2).encode() + b"\n"


def _inputs(receipts: Sequence[ShardReceipt]) -> tuple[InputCheck, ...]:
    inputs = {(check.side, check.file): check for receipt in receipts for check in receipt.inputs}
    return tuple(inputs[key] for key in sorted(inputs))
