"""The output of an exact adapter: the same tensors, byte for byte, at (1 + α) times their scale.

θ_sft + s·BA extrapolates to θ_sft + (1 + α)·s·BA, and s is lora_alpha divided by what only the
rank decides: so lora_alpha times (1 + α), and nothing else, is the ExPO model.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import CorruptError
from tasks.stores.artefact import Artefact
from tasks.stores.disk import sha256_of
from tasks.stores.source import Source, is_hub_commit
from tasks.weights.adapter import ADAPTER_CONFIG, Adapter, read_adapter
from tasks.weights.adapter_pairing import pair_adapter
from tasks.weights.checkpoint import read_checkpoint
from tasks.weights.headers import TensorRange
from tasks.weights.jobs import Plan
from tasks.weights.manifest import ModelFile
from tasks.weights.modules import alpha_of
from tasks.weights.receipts import InputCheck, ShardReceipt
from tasks.weights.recipe import Recipe

__all__ = ["expected_files", "require_trained", "scaled_config", "write_scaled_adapter"]

# peft stores a magnitude in the weights' dtype, bf16 at the coarsest: with it, a row that nothing has
# trained moves by one rounding of its norm.
MAGNITUDE_ROUNDING = 2.0**-8


def write_scaled_adapter(
    recipe: Recipe, aligned: Source, sft: Source, model: Artefact
) -> tuple[list[ModelFile], list[InputCheck]]:
    """Writes adapter_config.json and the adapter's weights; what they are, and what was read.

    Raises:
        CorruptError: the adapter holds NaN or Inf, or was never trained (every B is zero).
    """
    adapter = read_adapter(aligned)
    path, info = aligned.fetch(adapter.file), aligned.files()[adapter.file]
    _check_trained(adapter, aligned)
    content = scaled_config(recipe, adapter, sft)
    model.copy_in(path, adapter.file)
    model.write(ADAPTER_CONFIG, content)
    written = [
        ModelFile(name=adapter.file, size=info.size, sha256=sha256_of(path)),
        ModelFile(name=ADAPTER_CONFIG, size=len(content), sha256=hashlib.sha256(content).hexdigest()),
    ]
    check = InputCheck(
        side="aligned",
        file=adapter.file,
        size=info.size,
        sha256=info.sha256,
        check="sha256" if info.sha256 else "none",
    )
    return written, [check]


def expected_files(recipe: Recipe, aligned: Source, sft: Source) -> dict[str, str]:
    """Name → sha256 of what `write_scaled_adapter` writes, from the parents alone."""
    adapter = read_adapter(aligned)
    stated = aligned.files()[adapter.file].sha256
    config = hashlib.sha256(scaled_config(recipe, adapter, sft)).hexdigest()
    return {adapter.file: stated or sha256_of(aligned.fetch(adapter.file)), ADAPTER_CONFIG: config}


def scaled_config(recipe: Recipe, adapter: Adapter, sft: Source) -> bytes:
    """The adapter_config.json of the output: as the adapter's, with other scales.

    Where α differs by module, each module has its own in `alpha_pattern`, longer names first: peft
    takes the first that ends a module's name.
    """
    config, modules = adapter.config, sorted(adapter.modules, key=lambda name: (-len(name), name))
    names = pair_adapter(adapter, read_checkpoint(sft).tensors).modules
    alphas = {module: alpha_of(recipe, name) for name, module in names.items()}
    content = dict(config.content)
    if set(alphas.values()) == {recipe.alpha}:
        factor = 1.0 + recipe.alpha
        content["lora_alpha"] = _number(config.lora_alpha * factor)
        content["alpha_pattern"] = {
            pattern: _number(alpha * factor) for pattern, alpha in config.alpha_pattern.items()
        }
    else:
        content["alpha_pattern"] = {
            module: _number(config.alpha_of(module) * (1.0 + alphas[module])) for module in modules
        }
    if "base_model_name_or_path" in content and is_hub_commit(recipe.sft.commit):
        content["base_model_name_or_path"] = recipe.sft.uri
    return json.dumps(content, indent=2).encode() + b"\n"


def require_trained(plan: Plan, receipts: Sequence[ShardReceipt], aligned: Source) -> None:
    """Refuses a merged DoRA adapter whose factors and magnitudes are as they were before training.

    Its updates are not zero, as those of other untrained adapters: a magnitude is a rounded norm.

    Raises:
        CorruptError: it was never trained.
    """
    updates = {tensor.name: tensor.low_rank for shard in plan.shards for tensor in shard.tensors}
    if not any(update and update.magnitude for update in updates.values()):
        return
    for tensor in (tensor for receipt in receipts for tensor in receipt.statistics):
        rounding = MAGNITUDE_ROUNDING if updates[tensor.name] else 0.0
        if not tensor.update_norm <= rounding * tensor.norm:
            return
    if not any(_changes(aligned, update.a, update.b) for update in updates.values() if update):
        raise _untrained(aligned)


def _changes(aligned: Source, a: TensorRange, b: TensorRange) -> bool:
    """Whether B·A can be other than zero: an untrained B is zero, of an embedding A."""
    return bool(_values(aligned, a).any() and _values(aligned, b).any())


def _untrained(aligned: Source) -> CorruptError:
    return CorruptError(
        f"{aligned.checkpoint.uri}: the adapter changes nothing, its factors are as they were before "
        "training; save the trained one"
    )


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _check_trained(adapter: Adapter, aligned: Source) -> None:
    """Looks at every factor: an adapter is small. An untrained one has B zero, of an embedding A."""
    trained = False
    for module, factors in adapter.modules.items():
        a, b = _values(aligned, factors.a), _values(aligned, factors.b)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise CorruptError(
                f"{aligned.checkpoint.uri}: module {module!r} of the adapter holds NaN or Inf; "
                "fetch the file again, or train again"
            )
        trained = trained or bool(a.any() and b.any())
    if not trained:
        raise _untrained(aligned)


def _values(aligned: Source, tensor: TensorRange) -> NDArray[np.generic]:
    """A factor as floats; bf16, which numpy does not know, as its bits at the top of fp32's."""
    content = aligned.read(tensor.file, tensor.offset, tensor.nbytes)
    if tensor.dtype == "BF16":
        return (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(content, np.float16 if tensor.dtype == "F16" else np.float32)
