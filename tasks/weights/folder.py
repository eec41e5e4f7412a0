"""A model folder being written: shards arrive one by one, and the manifest completes it.

model-00001-of-00003.safetensors
model-00001-of-00003.safetensors.receipt.json     until the model is sealed
…
config.json, tokenizer.json, …                    the aligned checkpoint's, byte for byte
model.safetensors.index.json
manifest.json                                     last
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tasks.core.errors import CorruptError, InputError, MismatchError
from tasks.stores.artefact import CLAIM, Artefact, Store
from tasks.stores.disk import has_digest, inside, sha256_of
from tasks.stores.local import SCRATCH
from tasks.stores.source import Source
from tasks.weights.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tasks.weights.adapter_output import require_trained, write_scaled_adapter
from tasks.weights.checkpoint import INDEX
from tasks.weights.configuration import CONFIG
from tasks.weights.jobs import Plan, ShardJob
from tasks.weights.manifest import Manifest, ModelFile, build_index, build_manifest, read_manifest
from tasks.weights.output_config import changed_config
from tasks.weights.pass_options import Parents
from tasks.weights.receipts import InputCheck, ShardReceipt
from tasks.weights.recipe import Recipe

__all__ = [
    "changed_side_file",
    "claimed_model",
    "finished_model",
    "finished_shard",
    "give_up_unbegun",
    "local_copy",
    "model_artefact",
    "put_shard",
    "require_apart",
    "seal",
]

RECEIPT = ".receipt.json"


def model_artefact(store: Store, recipe: Recipe) -> Artefact:
    """The extrapolated model's place in the store."""
    return store.artefact("models", recipe.fingerprint[:16])


def put_shard(receipt: ShardReceipt, part: Path, model: Artefact) -> None:
    """Moves a shard into the model, then writes its receipt: where there is a receipt there is its shard."""
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
    if (receipt.job, receipt.file) != (job.fingerprint, job.file) or model.size(receipt.file) != receipt.size:
        return None
    return receipt if model.sha256(receipt.file) == receipt.sha256 else None


def claimed_model(plan: Plan, model: Artefact) -> Manifest | None:
    """As `finished_model`; where there is no whole model yet, the folder or prefix is claimed for this one.

    Raises:
        InputError: also where a run of another recipe has the claim.
    """
    require_apart(model, plan.recipe)
    _require_folder(model)
    if manifest := finished_model(plan, model):
        return manifest
    if model.uri.startswith("hf://"):  # its branch is named after the recipe, which is a claim
        return None
    model.claim(plan.recipe.fingerprint)
    try:
        manifest = finished_model(plan, model)
    except InputError:  # sealed between the check and the claim
        model.unclaim()
        raise
    if manifest:
        model.unclaim()
    return manifest


def give_up_unbegun(model: Artefact) -> None:
    """After a failure: where no shard was finished, another recipe may be written into this folder."""
    if not any(name.endswith(RECEIPT) for name in model.names()):
        model.give_up()


def require_apart(model: Artefact, recipe: Recipe) -> None:
    """Refuses a place for a model that is one of its parents, lies inside one, or has one inside.

    Raises:
        InputError: the place overlaps with a parent.
    """
    for parent in (recipe.aligned, recipe.sft):
        if _overlap(model.uri, parent.uri):
            raise InputError(
                f"{model.uri}: it overlaps with the checkpoint {parent.uri}, which would be changed; "
                "give a place that is neither inside of it nor around it"
            )


def _require_folder(model: Artefact) -> None:
    for path in (model.local, *model.local.parents) if model.local else ():
        if path.exists() and not path.is_dir():
            raise InputError(f"{model.uri}: {path} is a file; give a folder, which is made if need be")


def _overlap(first: str, second: str) -> bool:
    if "://" in first or "://" in second:
        first, second = f"{first.rstrip('/')}/", f"{second.rstrip('/')}/"
        return first.startswith(second) or second.startswith(first)
    if not Path(second).is_absolute():  # a hub id, or a provider's uri
        return False
    return _is_within(Path(first), Path(second)) or _is_within(Path(second), Path(first))


def _is_within(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, links resolved."""
    path = path.resolve()
    return folder.exists() and any(
        ancestor.exists() and ancestor.samefile(folder) for ancestor in (path, *path.parents)
    )


def finished_model(plan: Plan, model: Artefact) -> Manifest | None:
    """The manifest of a model that is whole, None where there is none yet.

    Raises:
        InputError: the folder holds another recipe's model, or files that are no model's.
        CorruptError: a file of the model is missing, or is not the one that the manifest names.
    """
    content = model.manifest()
    if content is not None:
        try:
            manifest = read_manifest(content)
        except CorruptError as error:
            raise InputError(f"{model.uri}: the folder holds {error}, or give an empty folder") from error
        if manifest.fingerprint != plan.recipe.fingerprint:
            raise InputError(f"{model.uri}: another model is in this folder; give an empty one")
        _require_files(model, manifest)
        return manifest
    names = set(model.names())
    if not _begun(model):
        others = names
    else:
        shards = {shard.file for shard in plan.shards}
        others = names - shards - {file + RECEIPT for file in shards} - _others(plan)
    if others:
        raise InputError(f"{model.uri}: the folder holds {', '.join(sorted(others)[:5])}; give an empty one")
    return None


def _require_files(model: Artefact, manifest: Manifest) -> None:
    """Holds each file against the manifest: here by its content, on S3 by the digest it was uploaded with."""
    for file in manifest.files:
        if model.local is not None:
            is_sound = has_digest(inside(model.local, file.name), file.size, file.sha256)
        else:
            is_sound = model.size(file.name) == file.size and model.sha256(file.name) in (file.sha256, None)
        if not is_sound:
            raise CorruptError(
                f"{model.uri}/{file.name}: missing, or not the file that the model's manifest names; "
                f"remove {model.uri} and extrapolate again"
            )


def seal(plan: Plan, receipts: Sequence[ShardReceipt], parents: Parents, model: Artefact) -> Manifest:
    """Copies the side files, writes the index, removes the receipts and writes the manifest, last.

    Of an adapter at another scale there are no shards: its files are written here.

    Raises:
        CorruptError: a shard's receipt is missing, or the adapter was never trained.
        MismatchError: every update is zero: the two checkpoints have the same weights.
    """
    made = {receipt.job: receipt for receipt in receipts}
    jobs = {shard.file: shard.fingerprint for shard in plan.shards}
    missing = [file for file, job in jobs.items() if job not in made]
    if missing:
        raise CorruptError(f"{model.uri}: no receipt of {', '.join(missing)}; run the extrapolation again")
    for file, job in jobs.items():
        _require_receipt(model, file, job)
    _check_update([made[job] for job in jobs.values()], plan, parents.aligned)
    others = [_write_side_file(name, plan, parents.aligned, model) for name in plan.side_files]
    others += [_write_side_file(name, plan, parents.sft, model) for name in plan.sft_side_files]
    inputs: list[InputCheck] = []
    if plan.recipe.adapter == "scale":
        files, inputs = write_scaled_adapter(plan.recipe, *parents, model)
        others += files
    else:
        index = build_index(plan)
        model.write(INDEX, index)
        others.append(ModelFile(name=INDEX, size=len(index), sha256=hashlib.sha256(index).hexdigest()))
    manifest = build_manifest(plan, [made[job] for job in jobs.values()], others, inputs)
    for file in jobs:
        model.remove(file + RECEIPT)
    model.seal(manifest.model_dump_json(indent=1).encode())
    return manifest


def local_copy(artefact: Artefact) -> Path:
    """A folder of this machine that holds every file of a whole model, each with its manifest's digest.

    A file is hashed once per machine and content; an engine may execute what it finds there.

    Raises:
        CorruptError: there is no whole model, or a file of it differs from what was uploaded.
    """
    content = artefact.manifest()
    if content is None:
        raise CorruptError(f"{artefact.uri}: no manifest, so there is no whole model; extrapolate first")
    folder = artefact.work_dir()
    for file in read_manifest(content).files:
        here = inside(folder, file.name)
        if has_digest(here, file.size, file.sha256):
            continue
        artefact.fetch(file.name, folder)
        if not has_digest(here, file.size, file.sha256):
            raise CorruptError(f"{here}: not the file that the model's manifest names; make the model again")
    return folder


def _check_update(receipts: Sequence[ShardReceipt], plan: Plan, aligned: Source) -> None:
    norms = [tensor.update_norm for receipt in receipts for tensor in receipt.statistics]
    if norms and not any(norms):
        raise MismatchError(
            f"{plan.recipe.aligned.uri} and {plan.recipe.sft.uri} have the same weights: every update is "
            "zero, so there is nothing to extrapolate; is one a copy of the other?"
        )
    require_trained(plan, receipts, aligned)


def _require_receipt(model: Artefact, file: str, job: str) -> None:
    """Checks that no other run has replaced a shard since it was put there."""
    content = model.read(file + RECEIPT)
    try:
        found = ShardReceipt.model_validate_json(content).job if content else None
    except ValueError:
        found = None
    if found != job and model.manifest() is None:  # another run of this model may have sealed it
        raise CorruptError(f"{model.uri}: {file} was replaced meanwhile; run the extrapolation again")


def changed_side_file(name: str, plan: Plan, content: bytes) -> bytes | None:
    """What becomes of a side file's content: config.json says what the output is. None: it stays."""
    return changed_config(plan.recipe, content) if name == CONFIG else None


def _write_side_file(name: str, plan: Plan, aligned: Source, model: Artefact) -> ModelFile:
    """A copy; of config.json what `changed_side_file` makes of it."""
    path = aligned.fetch(name)
    if name == CONFIG and (content := changed_side_file(name, plan, path.read_bytes())) is not None:
        model.write(name, content)
        return ModelFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    model.copy_in(path, name)
    return ModelFile(name=name, size=path.stat().st_size, sha256=sha256_of(path))


def _others(plan: Plan) -> set[str]:
    """The files that a finished model has beside its shards."""
    adapter = {ADAPTER_CONFIG, *ADAPTER_WEIGHTS} if plan.recipe.adapter == "scale" else set()
    return {*plan.side_files, *plan.sft_side_files, INDEX, *adapter}


def _begun(model: Artefact) -> bool:
    """Whether a run of this project began here: it leaves a claim or a scratch folder."""
    return model.local is None or (model.local / SCRATCH).is_dir() or model.read(CLAIM) is not None
