"""Tensors of the SFT side under the aligned side's names, where one rule explains the difference.

The rules are few and know no architectures: a prefix on one side, the two spellings that
transformers has for wrapped models, experts stored together or one by one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tasks.weights.headers import TensorRange

__all__ = ["Renamed", "experts_apart", "rename_to"]

Tensors = Mapping[str, TensorRange]

# Old and new names of the same part, as transformers reads both (≥ 4.52, ≥ 5).
_SPELLINGS = (
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^(vision_tower|visual|multi_modal_projector|vision_model)\."), r"model.\1."),
    (re.compile(r"^model\.(layers|embed_tokens|norm)(?=\.)"), r"model.language_model.\1"),
    (re.compile(r"\.block_sparse_moe\."), ".mlp."),
)
_FUSED = re.compile(r"^(?P<stem>.*\.experts)\.(?P<part>gate_up_proj|down_proj)$")
_SINGLE = re.compile(r"^(?P<stem>.*\.experts)\.\d+\.\w+\.weight$")
_EXPERT_NAMES = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))


class Renamed(NamedTuple):
    """The SFT side's tensors by the aligned side's names, and the rules that were needed."""

    tensors: dict[str, TensorRange]
    notices: tuple[str, ...]


def rename_to(aligned: Tensors, sft: Tensors) -> Renamed:
    """Applies whatever rule leaves fewer tensors without a counterpart; without one, nothing is renamed."""
    tensors, notices = dict(sft), []
    for rule in (_by_prefix, _by_spelling, _by_experts):
        missing = [name for name in aligned if name not in tensors]
        spare = [name for name in tensors if name not in aligned]
        if not missing or not spare:
            break
        found = rule(aligned, tensors, missing, spare)
        if found is not None:
            tensors, notice = found
            notices.append(notice)
    return Renamed(tensors, tuple(notices))


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


_Found = tuple[dict[str, TensorRange], str] | None


def _by_prefix(_: Tensors, sft: Tensors, missing: list[str], spare: list[str]) -> _Found:
    """A prefix that one side has and the other has not."""
    wanted, held = set(missing), set(spare)
    best: dict[str, str] = {}
    words = ""
    for prefix in _prefixes(missing, held):
        names = {name: prefix + name for name in spare if prefix + name in wanted}
        if len(names) > len(best):
            best, words = names, f"the aligned side's names begin with {prefix!r}, the SFT side's do not"
    for prefix in _prefixes(spare, wanted):
        plain = {name: name.removeprefix(prefix) for name in spare if name.startswith(prefix)}
        names = {name: new for name, new in plain.items() if new in wanted}
        if len(names) > len(best):
            best, words = names, f"the SFT side's names begin with {prefix!r}, the aligned side's do not"
    if not best:
        return None
    notice = f"{len(best):,} tensors are paired by one prefix: {words}"
    return {best.get(name, name): tensor for name, tensor in sft.items()}, notice


def _prefixes(names: list[str], others: set[str]) -> Iterator[str]:
    """What has to be taken off some of the names to find them among the others."""
    found = set()
    for name in {names[0], names[len(names) // 2], names[-1]}:
        for dot in re.finditer(r"\.", name):
            if name[dot.end() :] in others:
                found.add(name[: dot.end()])
    yield from sorted(found, key=len)


def _by_spelling(_: Tensors, sft: Tensors, missing: list[str], spare: list[str]) -> _Found:
    """Both sides' names in the newer spelling."""
    wanted = {_respelled(name): name for name in missing}
    newer = {name: _respelled(name) for name in spare}
    names = {name: wanted[new] for name, new in newer.items() if new in wanted}
    if not names or len(wanted) != len(missing) or len(set(names.values())) != len(names):
        return None
    notice = f"{len(names):,} tensors are paired by transformers' older and newer names for them"
    return {names.get(name, name): tensor for name, tensor in sft.items()}, notice


def _respelled(name: str) -> str:
    for pattern, new in _SPELLINGS:
        name = pattern.sub(new, name)
    return name


def _by_experts(aligned: Tensors, sft: Tensors, _: list[str], spare: list[str]) -> _Found:
    """Experts in one tensor on the SFT side, one by one on the aligned side: each is a range of it."""
    parts: dict[str, TensorRange] = {}
    fused = [name for name in spare if _FUSED.match(name)]
    for name in fused:
        parts |= _experts_of(name, sft[name], aligned)
    if not parts:
        return None
    rest = {name: tensor for name, tensor in sft.items() if name not in set(fused)}
    notice = f"{len(parts):,} experts are stored one by one on the aligned side, together on the SFT side"
    return rest | parts, notice


def _experts_of(name: str, fused: TensorRange, aligned: Tensors) -> dict[str, TensorRange]:
    """The ranges of the experts in a fused tensor of shape [experts, out, in]; empty if it does not fit."""
    match = _FUSED.match(name)
    if match is None or len(fused.shape) != 3:
        return {}
    stem, number = match["stem"], fused.shape[0]
    for gate, up, down in _EXPERT_NAMES:
        order = (gate, up) if match["part"] == "gate_up_proj" else (down,)
        if fused.shape[1] % len(order):
            continue
        shape = (fused.shape[1] // len(order), fused.shape[2])
        names = [f"{stem}.{expert}.{part}.weight" for expert in range(number) for part in order]
        if all(name in aligned and aligned[name].shape == shape for name in names):
            size = fused.nbytes // len(names)
            return {
                name: fused.model_copy(
                    update={"shape": shape, "offset": fused.offset + place * size, "nbytes": size}
                )
                for place, name in enumerate(names)
            }
    return {}
