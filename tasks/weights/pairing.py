"""Which tensor of the SFT checkpoint belongs to which of the aligned one, and every reason why not."""

import json
import re
from collections.abc import Iterator, Mapping

from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.checkpoint import CheckpointLayout
from tasks.weights.headers import TensorRange
from tasks.weights.recipe import Recipe
from tasks.weights.vocabulary import HEAD, INPUT_EMBEDDING, RowRun, common_rows, is_vocabulary

__all__ = ["Pairing", "pair_tensors"]

# Computed from the config by every engine, not trained: taken from the aligned side.
BUFFER = re.compile(r"(^|\.)(rotary_emb\.(inv_freq|cos_cached|sin_cached)|position_ids|masked_bias)$")
FLOATS = ("BF16", "F16", "F32")


class Pairing(Value):
    """The result of matching two checkpoints by name.

    sft         for each tensor of the aligned side its counterpart; None for a buffer, to be copied
    rows        for each vocabulary tensor whose rows are matched one by one, how
    skipped     names of the SFT side that nothing is made of: buffers, and copies of tied weights
    mismatches  one sentence for each reason why the two cannot be combined
    """

    sft: dict[str, TensorRange | None]
    rows: dict[str, tuple[RowRun, ...]]
    skipped: tuple[str, ...]
    mismatches: tuple[str, ...]


def pair_tensors(
    recipe: Recipe, aligned: Source, sft: Source, ours: CheckpointLayout, theirs: CheckpointLayout
) -> Pairing:
    """Matches tensors by name, tied weights by what they are tied to."""
    known = theirs.tensors | _tied(sft, ours.tensors, theirs.tensors)
    pairs: dict[str, TensorRange | None] = {}
    rows: dict[str, tuple[RowRun, ...]] = {}
    mismatches: list[str] = []
    for name, tensor in ours.tensors.items():
        if BUFFER.search(name):
            pairs[name] = None
            continue
        pairs[name] = other = known.get(name)
        if other is None:
            mismatches.append(f"{name}: only in the aligned checkpoint; is the other its SFT model?")
        elif (
            recipe.vocabulary == "common-rows" and is_vocabulary(name) and tensor.shape[1:] == other.shape[1:]
        ):
            rows[name] = common_rows(aligned, sft, tensor.shape[0], other.shape[0])
        elif tensor.shape != other.shape:
            mismatches.append(_shapes_differ(name, tensor, other))
        if other and not {tensor.dtype, other.dtype} <= set(FLOATS):
            mismatches.append(
                f"{name}: {tensor.dtype} and {other.dtype}; only {', '.join(FLOATS)} can be extrapolated, "
                "use the checkpoints before quantisation"
            )
    skipped = tuple(name for name in theirs.tensors if name not in ours.tensors)
    mismatches += _not_skippable(sft, skipped, ours.tensors, theirs.tensors)
    return Pairing(sft=pairs, rows=rows, skipped=skipped, mismatches=tuple(mismatches))


def _tied(
    sft: Source, ours: Mapping[str, TensorRange], theirs: Mapping[str, TensorRange]
) -> dict[str, TensorRange]:
    """What stands for the names that only the aligned side has because the SFT side ties them.

    Either the aligned side stores both names at one place (a `.bin` does), or the SFT
    side's config ties the head to the embedding.
    """
    found: dict[str, TensorRange] = {}
    for name, tensor in ours.items():
        if name in theirs:
            continue
        aliases = [other for other in ours if other in theirs and _same_place(ours[other], tensor)]
        if not aliases and HEAD.search(name) and _ties_words(sft):
            aliases = [other for other in theirs if INPUT_EMBEDDING.search(other)]
        if len(aliases) == 1:
            found[name] = theirs[aliases[0]]
    return found


def _not_skippable(
    sft: Source, skipped: tuple[str, ...], ours: Mapping[str, TensorRange], theirs: Mapping[str, TensorRange]
) -> Iterator[str]:
    """A complaint for each name of the SFT side alone that is neither a buffer nor a tied copy."""
    for name in skipped:
        alias = any(other in ours and _same_place(theirs[other], theirs[name]) for other in theirs)
        if not BUFFER.search(name) and not alias and not (HEAD.search(name) and _ties_words(sft)):
            yield f"{name}: only in the SFT checkpoint; is this the model that the aligned one came from?"


def _same_place(one: TensorRange, other: TensorRange) -> bool:
    return one.nbytes > 0 and one == other


def _ties_words(source: Source) -> bool:
    """Whether the config says that the head is the input embedding."""
    files = source.files()
    if "config.json" not in files:
        return False
    try:
        config = json.loads(source.read("config.json", 0, files["config.json"].size))
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("tie_word_embeddings") is True


def _shapes_differ(name: str, tensor: TensorRange, other: TensorRange) -> str:
    what = f"{name}: shape {list(tensor.shape)}, on the SFT side {list(other.shape)}"
    if is_vocabulary(name) and tensor.shape[1:] == other.shape[1:]:
        return f"{what}; vocabulary 'common-rows' extrapolates the tokens that both have"
    return f"{what}; is this the model that the aligned one came from?"
