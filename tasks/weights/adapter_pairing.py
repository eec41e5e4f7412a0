"""Which weight of the SFT checkpoint each tensor of an adapter belongs to, and every reason why none."""

from collections.abc import Iterator, Mapping

from tasks.core.values import Value
from tasks.weights.adapter import Adapter, AdapterConfig, Factors
from tasks.weights.headers import TensorRange
from tasks.weights.jobs import FLOATS
from tasks.weights.low_rank import LowRank

__all__ = ["AdapterPairing", "pair_adapter"]

NAMED = 5


class AdapterPairing(Value):
    """An adapter's tensors by the names of the SFT checkpoint.

    low_rank    tensor → the update of it
    modules     tensor → the adapted module, as the adapter names it
    saved       tensor → the aligned one, saved whole in the adapter
    mismatches  one sentence for each reason why the two cannot be combined
    """

    low_rank: dict[str, LowRank]
    modules: dict[str, str]
    saved: dict[str, TensorRange]
    mismatches: tuple[str, ...]


def pair_adapter(adapter: Adapter, sft: Mapping[str, TensorRange]) -> AdapterPairing:
    """Matches modules and tensors by name; a prefix that all of them lack or have too much is bridged."""
    weights = {f"{module}.weight": module for module in adapter.modules}
    whole = {**adapter.saved, **adapter.base_copies}
    rename = _bridge([*weights, *whole], sft)
    mismatches = [*_unknown([*weights, *whole], rename, sft)]
    low_rank, modules = {}, {}
    for weight, module in weights.items():
        name = rename(weight)
        if name in sft:
            update = _low_rank(adapter, module, sft[name])
            mismatches += _mismatches(name, update, sft[name])
            low_rank[name], modules[name] = update, module
    for name, tensor in whole.items():
        held = sft.get(rename(name))
        if held is not None and held.shape != tensor.shape:
            mismatches.append(
                f"{name}: shape {list(tensor.shape)} in the adapter, {list(held.shape)} on the SFT side: "
                "the vocabulary was resized in training; resize the SFT model likewise, then merge with peft"
            )
        if tensor.dtype not in FLOATS:
            mismatches.append(
                f"{name}: {tensor.dtype} in the adapter; only {', '.join(FLOATS)} can be merged"
            )
    saved = {rename(name): tensor for name, tensor in adapter.saved.items() if rename(name) in sft}
    return AdapterPairing(low_rank=low_rank, modules=modules, saved=saved, mismatches=tuple(mismatches))


class _Rename:
    """A name of the adapter as the SFT checkpoint has it."""

    def __init__(self, removed: str = "", added: str = "") -> None:
        self._removed, self._added = removed, added

    def __call__(self, name: str) -> str:
        return self._added + name.removeprefix(self._removed)


def _bridge(names: list[str], sft: Mapping[str, TensorRange]) -> _Rename:
    """The one prefix that explains all names; none is changed where names fit, or nothing explains them."""
    if all(name in sft for name in names):
        return _Rename()
    first = names[0]
    candidates = [_Rename(added=name.removesuffix(first)) for name in sft if name.endswith(f".{first}")]
    parts = first.split(".")
    candidates += [_Rename(removed=".".join(parts[:count]) + ".") for count in range(1, len(parts) - 1)]
    fitting = [rename for rename in candidates if all(rename(name) in sft for name in names)]
    return fitting[0] if len(fitting) == 1 else _Rename()


def _unknown(names: list[str], rename: _Rename, sft: Mapping[str, TensorRange]) -> Iterator[str]:
    missing = [name for name in names if rename(name) not in sft]
    if missing:
        shown = ", ".join(missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        yield (
            f"{len(missing)} of the adapter's {len(names)} tensors are not on the SFT side: {shown}{more}; "
            "give the model that the adapter was trained on as --sft"
        )


def _low_rank(adapter: Adapter, module: str, weight: TensorRange) -> LowRank:
    factors = adapter.modules[module]
    return LowRank(
        a=factors.a,
        b=factors.b,
        scale=adapter.config.scale_of(module, factors.a.shape[0]),
        transposed=_transposed(adapter.config, factors, weight),
        magnitude=factors.magnitude,
    )


def _transposed(config: AdapterConfig, factors: Factors, weight: TensorRange) -> bool:
    """By the shape; of a square weight only the configuration can say."""
    out, columns = factors.b.shape[0], factors.a.shape[1]
    if factors.embedding or out == columns:
        return factors.embedding or config.fan_in_fan_out
    return weight.shape == (columns, out)


def _mismatches(name: str, update: LowRank, weight: TensorRange) -> Iterator[str]:
    if update.shape != weight.shape:
        yield (
            f"{name}: the adapter's update has shape {list(update.shape)}, the weight {list(weight.shape)}; "
            "give the model that the adapter was trained on as --sft"
        )
    if update.magnitude and update.transposed:
        yield f"{name}: DoRA on a transposed weight; merge it with peft and give the merged model"
    for tensor in (weight, update.a, update.b, *([update.magnitude] if update.magnitude else [])):
        if tensor.dtype not in FLOATS:
            yield f"{name}: {tensor.dtype}; merged are {', '.join(FLOATS)} only, use unquantized weights"
