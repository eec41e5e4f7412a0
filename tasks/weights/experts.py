"""Experts that one side stores in one tensor and the other one by one: Mixtral's and Qwen-MoE's layouts.

    X.experts.gate_up_proj   (experts, 2 · width, hidden): of each expert the gate's rows, then the up's
    X.experts.down_proj      (experts, hidden, width)
    X.experts.0.gate_proj.weight, …up_proj…, …down_proj…, or w1, w3, w2

Each single matrix is a range of the elements of the fused tensor, so either side's layout can be the
output's, which is the aligned side's as always.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tasks.weights.headers import TensorRange

__all__ = ["PairedExperts", "experts_apart", "pair_experts"]

Tensors = Mapping[str, TensorRange]

_FUSED = re.compile(r"^(?P<stem>.*\.experts)\.(?P<part>gate_up_proj|down_proj)$")
_SINGLE = re.compile(r"^(?P<stem>.*\.experts)\.\d+\.\w+\.weight$")
_EXPERT_NAMES = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
# transformers 5 calls the block another name when it fuses Mixtral's experts.
_STEMS = (".mlp.experts", ".block_sparse_moe.experts")


class PairedExperts(NamedTuple):
    """The SFT side's tensors by the aligned side's names; see `tasks.weights.renaming.Renamed`."""

    tensors: dict[str, TensorRange]
    parts: dict[str, tuple[TensorRange, ...]]
    notices: tuple[str, ...]


def pair_experts(aligned: Tensors, sft: Tensors, missing: list[str], spare: list[str]) -> PairedExperts:
    """Pairs what fits: fused experts of the SFT side by ranges, single ones as parts of a fused tensor."""
    single: dict[str, TensorRange] = {}
    used: set[str] = set()
    for name in spare:
        if ranges := _ranges_of(name, sft[name], aligned):
            single |= ranges
            used.add(name)
    whole: dict[str, TensorRange] = {}
    parts: dict[str, tuple[TensorRange, ...]] = {}
    for name in missing:
        if names := _single_names(name, aligned[name], sft):
            parts[name] = tuple(sft[part] for part in names)
            size = sum(part.nbytes for part in parts[name])
            whole[name] = parts[name][0].model_copy(update={"shape": aligned[name].shape, "nbytes": size})
            used |= set(names)
    notices = []
    if single:
        notices.append(
            f"{len(single):,} experts are stored one by one on the aligned side, together on the SFT side"
        )
    if whole:
        notices.append(
            f"{len(whole):,} tensors of experts are stored together on the aligned side, and so in the "
            "output; on the SFT side one by one"
        )
    rest = {name: tensor for name, tensor in sft.items() if name not in used}
    return PairedExperts(rest | single | whole, parts, tuple(notices))


def experts_apart(aligned: Tensors, sft: Tensors) -> dict[str, str]:
    """Tensor → reason, for experts that one side stores together and the other one by one, unpaired."""
    missing = [name for name in aligned if name not in sft]
    spare = [name for name in sft if name not in aligned]
    for here, there, side, other in ((missing, spare, "aligned", "SFT"), (spare, missing, "SFT", "aligned")):
        together = {match["stem"]: name for name in here if (match := _FUSED.match(name))}
        single = [name for name in there if (match := _SINGLE.match(name)) and match["stem"] in together]
        if single:
            reason = (
                f"experts are stored together on the {side} side, one by one on the {other} side; load the "
                f"{side} side with transformers and save_pretrained it, which stores them one by one"
            )
            fused = [name for name in here if _FUSED.match(name)]
            return dict.fromkeys([*single, *fused], reason)
    return {}


def _ranges_of(name: str, fused: TensorRange, single: Tensors) -> dict[str, TensorRange]:
    """Single expert → its range of the fused tensor; empty if it is none, or does not fit."""
    names = _single_names(name, fused, single)
    size = fused.nbytes // max(1, len(names))
    return {
        expert: fused.model_copy(
            update={"shape": single[expert].shape, "offset": fused.offset + place * size, "nbytes": size}
        )
        for place, expert in enumerate(names)
    }


def _single_names(name: str, fused: TensorRange, single: Tensors) -> list[str]:
    """The names of the matrices that make up a fused tensor, in its order; empty if they do not fit."""
    match = _FUSED.match(name)
    if match is None or len(fused.shape) != 3:
        return []
    stem, number = match["stem"], fused.shape[0]
    for gate, up, down in _EXPERT_NAMES:
        order = (gate, up) if match["part"] == "gate_up_proj" else (down,)
        shape = (fused.shape[1] // len(order), fused.shape[2])
        for other in _stems(stem):
            names = [f"{other}.{expert}.{part}.weight" for expert in range(number) for part in order]
            found = [single[expert] for expert in names if expert in single]
            fits = len(found) == len(names) and shape[0] * len(order) == fused.shape[1]
            if fits and {(part.shape, part.dtype) for part in found} == {(shape, found[0].dtype)}:
                return names
    return []


def _stems(stem: str) -> list[str]:
    """What the block may be called on the other side, its own name first."""
    ending = next((ending for ending in _STEMS if stem.endswith(ending)), "")
    return [stem, *(stem.removesuffix(ending) + other for other in _STEMS if ending and other != ending)]
