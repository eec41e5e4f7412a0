"""A model folder in the making: shards arrive one by one, the manifest makes it whole.

model-00001-of-00003.safetensors
model-00001-of-00003.safetensors.receipt.json     until the model is sealed
…
config.json, tokenizer.json, …                    the aligned checkpoint's, byte for byte
model.safetensors.index.json
manifest.json                                     last
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

from tasks.errors import CorruptError, InputError, PermanentError
from tasks.stores.artefact import Artefact
from tasks.stores.local import SCRATCH
from tasks.stores.source import Source, sha256_of
from tasks.weights.checkpoint import INDEX
from tasks.weights.manifest import Manifest, ModelFile, build_index, build_manifest
from tasks.weights.plan import Plan, ShardJob
from tasks.weights.receipts import ShardReceipt
from tasks.weights.shard import SHARD_MEMORY, Device, write_shard
from tasks.weights.turns import StoppedError

__all__ = ["extrapolate", "finished_model", "finished_shard", "put_shard", "seal"]

RECEIPT = ".receipt.json"
MEMORY = 1 << 30
STALE_S = 3600.0


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
    return receipt if model.sha256(receipt.file) == receipt.sha256 else None


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
    names = set(model.names())
    if not _begun(model):
        others = names
    else:
        shards = {shard.file for shard in plan.shards}
        others = names - shards - {file + RECEIPT for file in shards} - {*plan.side_files, INDEX}
    if others:
        raise InputError(f"{model.uri}: the folder holds {', '.join(sorted(others)[:5])}; give an empty one")
    return None


def seal(plan: Plan, receipts: Sequence[ShardReceipt], aligned: Source, model: Artefact) -> Manifest:
    """Copies the side files, writes the index, removes the receipts and writes the manifest, last.

    Raises:
        CorruptError: a shard's receipt is missing.
    """
    made = {receipt.job: receipt for receipt in receipts}
    jobs = {shard.file: shard.fingerprint for shard in plan.shards}
    missing = [file for file, job in jobs.items() if job not in made]
    if missing:
        raise CorruptError(f"{model.uri}: no receipt of {', '.join(missing)}; run the extrapolation again")
    others = [_copy_side_file(name, aligned, model) for name in plan.side_files]
    index = build_index(plan)
    model.write(INDEX, index)
    others.append(ModelFile(name=INDEX, size=len(index), sha256=hashlib.sha256(index).hexdigest()))
    manifest = build_manifest(plan, [made[job] for job in jobs.values()], others)
    for file in jobs:
        model.remove(file + RECEIPT)
    model.seal(manifest.model_dump_json(indent=1).encode())
    return manifest


def extrapolate(
    plan: Plan,
    aligned: Source,
    sft: Source,
    model: Artefact,
    *,
    workers: int | None = None,
    memory: int = MEMORY,
    device: Device = "auto",
    advance: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """The whole job on one machine: every shard that is not finished yet, then the seal.

    A run that was killed is resumed: only the shards that were in flight are done again. A
    model that is whole is returned as it is. `workers` shards are made at once (by default
    one for every two cores), fewer where their buffers would need more than `memory` bytes.
    `advance` gets bytes of output, also for shards that were finished before, from one
    thread at a time.

    Raises:
        InputError: the folder holds something else.
        PermanentError: the disk has too little room, or is full.
        MismatchError, CorruptError: as `write_shard`.
    """
    manifest = finished_model(plan, model)
    if manifest:
        advance(plan.output_bytes)
        return manifest
    _remove_stale_parts(model)
    meter = _Meter(advance)

    def make(job: ShardJob) -> ShardReceipt:
        receipt = finished_shard(job, model)
        if receipt:
            meter.advance(receipt.size)
            return receipt
        _check_room(job, model)
        part = model.scratch() / f"{job.file}.{os.getpid()}.part"
        receipt = write_shard(job, aligned, sft, part, device=device, advance=meter.advance)
        put_shard(receipt, part, model)
        return receipt

    at_once = min(workers or _cores() // 2, memory // SHARD_MEMORY, len(plan.shards))
    with ThreadPoolExecutor(max(1, at_once)) as pool:
        futures = [pool.submit(make, job) for job in plan.shards]
        receipts = _results(futures, meter)
    return seal(plan, receipts, aligned, model)


class _Meter:
    """Passes progress on from several threads, and ends them at the next slot when one has failed."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._lock = Lock()
        self.stopped = False

    def advance(self, written: int) -> None:
        with self._lock:
            if self.stopped:
                raise StoppedError
            self._advance(written)


def _results(futures: Sequence[Future[ShardReceipt]], meter: _Meter) -> list[ShardReceipt]:
    """All results, or the first failure at once."""
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    except BaseException:
        meter.stopped = True
        for future in futures:
            future.cancel()
        raise


def _copy_side_file(name: str, aligned: Source, model: Artefact) -> ModelFile:
    path = aligned.fetch(name)
    model.copy_in(path, name)
    return ModelFile(name=name, size=path.stat().st_size, sha256=sha256_of(path))


def _check_room(job: ShardJob, model: Artefact) -> None:
    free = shutil.disk_usage(model.scratch()).free
    if free < job.bytes:
        raise PermanentError(
            f"{model.scratch()}: {free / 1e9:.1f} GB are free, {job.file} needs {job.bytes / 1e9:.1f} GB; "
            "make room, then run again"
        )


def _remove_stale_parts(model: Artefact) -> None:
    """What killed runs left behind may be tens of gigabytes; another live run's parts are younger."""
    for part in model.scratch().glob("*.part"):
        if time.time() - part.stat().st_mtime > STALE_S:
            part.unlink(missing_ok=True)


def _begun(model: Artefact) -> bool:
    """Whether a run of ours began here: without its scratch folder, a model's files are someone else's."""
    return model.local is None or (model.local / SCRATCH).is_dir()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2


def _manifest(content: bytes) -> Manifest | None:
    try:
        return Manifest.model_validate_json(content)
    except ValueError:
        return None
