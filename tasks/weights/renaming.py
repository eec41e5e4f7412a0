"""Tensors of the SFT side under the aligned side's names, where one rule explains the difference.

The rules are few and know no architectures: a prefix on one side, the two spellings that
transformers has for wrapped models, experts stored together or one by one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tasks.weights.experts import pair_experts
from tasks.weights.headers import TensorRange

__all__ = ["Renamed", "rename_to"]

Tensors = Mapping[str, TensorRange]

# Old and new names of the same part, as transformers reads both (≥ 4.52, ≥ 5).
_SPELLINGS = (
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^(vision_tower|visual|multi_modal_projector|vision_model)\."), r"model.\1."),
    (re.compile(r"^model\.(layers|embed_tokens|norm)(?=\.)"), r"model.language_model.\1"),
    (re.compile(r"\.block_sparse_moe\."), ".mlp."),
)


class Renamed(NamedTuple):
    """The SFT side's tensors by the aligned side's names, and the rules that were needed.

    parts  of a tensor that the SFT side stores in several: these, in the order of their elements
    """

    tensors: dict[str, TensorRange]
    parts: dict[str, tuple[TensorRange, ...]]
    notices: tuple[str, ...]


def rename_to(aligned: Tensors, sft: Tensors) -> Renamed:
    """Applies whatever rule leaves fewer tensors without a counterpart; without one, nothing is renamed."""
    tensors, notices = dict(sft), []
    for rule in (_by_prefix, _by_spelling):
        missing, spare = _unpaired(aligned, tensors)
        if not missing or not spare:
            break
        found = rule(aligned, tensors, missing, spare)
        if found is not None:
            tensors, notice = found
            notices.append(notice)
    experts = pair_experts(aligned, tensors, *_unpaired(aligned, tensors))
    return Renamed(experts.tensors, experts.parts, (*notices, *experts.notices))


def _unpaired(aligned: Tensors, sft: Tensors) -> tuple[list[str], list[str]]:
    """The names of each side alone."""
    return [name for name in aligned if name not in sft], [name for name in sft if name not in aligned]


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
