"""Which tensor of the SFT checkpoint belongs to which of the aligned one, and every reason why not."""

from collections.abc import Iterator, Mapping

from tasks.core.values import Value
from tasks.weights.buffers import FLOATS, is_buffer
from tasks.weights.experts import experts_apart
from tasks.weights.fp8 import with_scales
from tasks.weights.headers import TensorRange
from tasks.weights.quantized import quantization
from tasks.weights.recipe import Recipe
from tasks.weights.refusals import examples, grouped
from tasks.weights.renaming import rename_to
from tasks.weights.samples import same_bytes
from tasks.weights.sides import Side, is_same_checkpoint
from tasks.weights.ties import is_tied_head, stand_ins, trained_head, with_embedding
from tasks.weights.vocabulary import RowRun, Tokenizers, is_vocabulary

__all__ = ["Pairing", "pair_tensors"]

Tensors = Mapping[str, TensorRange]
Complaints = Iterator[tuple[str, str]]


class Pairing(Value):
    """The result of matching two checkpoints by name.

    aligned     the aligned side's tensors by the names that the output gives them, in their order
    sft         for each of these its counterpart; None where the aligned tensor is copied
    parts       of a tensor that the SFT side stores in several: these, in the order of their elements
    rows        for each vocabulary tensor whose rows are matched one by one, how
    skipped     names of the SFT side that nothing is made of: buffers, copies of tied weights, extras
    copied      names of the aligned side that are taken over as they are
    notices     one sentence for each thing that did not go by equal names
    mismatches  one line for each reason why the two cannot be combined
    """

    aligned: dict[str, TensorRange]
    sft: dict[str, TensorRange | None]
    parts: dict[str, tuple[TensorRange, ...]]
    rows: dict[str, tuple[RowRun, ...]]
    skipped: tuple[str, ...]
    copied: tuple[str, ...]
    notices: tuple[str, ...]
    mismatches: tuple[str, ...]


def pair_tensors(recipe: Recipe, aligned: Side, sft: Side) -> Pairing:
    """Matches tensors by name, tied weights by what they are tied to."""
    unscaled = aligned, sft
    if recipe.dequantize:
        aligned, sft = with_scales(aligned), with_scales(sft)
    impossible = (*_unusable(aligned), *_unusable(sft), *_same_checkpoint(aligned, sft))
    if recipe.dequantize and not impossible and aligned is unscaled[0] and sft is unscaled[1]:
        impossible = ("neither side holds fp8 weights with their scales; leave --dequantize out",)
    if impossible:
        return _refused(impossible)
    aligned, sft = with_embedding(aligned, sft), with_embedding(sft, aligned)
    renamed = rename_to(aligned.tensors, sft.tensors)
    sft = sft._replace(tensors=renamed.tensors)
    known = renamed.tensors | stand_ins(aligned, sft)
    copied = {name for name, tensor in aligned.tensors.items() if _is_copied(recipe, name, tensor, known)}
    rows: dict[str, tuple[RowRun, ...]] = {}
    tokenizers, has_vocabulary = Tokenizers(aligned.source, sft.source), False
    complaints = [*trained_head(aligned, sft.tensors), *trained_head(sft, aligned.tensors)]
    complaints += experts_apart(aligned.tensors, sft.tensors).items() if recipe.extra == "error" else ()
    dropped = {name for name, _ in complaints}
    for name, tensor in aligned.tensors.items():
        other = known.get(name)
        if name in copied or name in dropped:
            continue
        if other is None:
            complaints.append((name, "only in the aligned checkpoint; is the other its SFT model?"))
        elif not (_has_numbers(tensor) and _has_numbers(other)):
            if _same_numbers(aligned, tensor, sft, other):
                copied.add(name)
            else:
                complaints.append((name, _dtypes(tensor, other)))
        elif _by_rows(recipe, name, tensor, other):
            rows[name] = tokenizers.common_rows(tensor.shape[0], other.shape[0], recipe.vocabulary)
        elif tensor.shape != other.shape:
            complaints.append((name, _shapes(name, tensor, other)))
        elif is_vocabulary(name):
            has_vocabulary = True
            if recipe.vocabulary == "error" and (reason := tokenizers.difference(tensor.shape[0])):
                complaints.append((name, reason))
    skipped = tuple(name for name in sft.tensors if name not in aligned.tensors)
    complaints += [item for item in _not_skippable(recipe, aligned, sft, skipped) if item[0] not in dropped]
    row_notices = tokenizers.notices(recipe.vocabulary) if rows or has_vocabulary else ()
    return Pairing(
        aligned=aligned.tensors,
        sft={name: None if name in copied else known.get(name) for name in aligned.tensors},
        parts=renamed.parts,
        rows=rows,
        skipped=skipped,
        copied=tuple(name for name in aligned.tensors if name in copied),
        notices=(*aligned.notices, *sft.notices, *renamed.notices, *row_notices),
        mismatches=grouped(complaints),
    )


def _refused(mismatches: tuple[str, ...]) -> Pairing:
    return Pairing(
        aligned={}, sft={}, parts={}, rows={}, skipped=(), copied=(), notices=(), mismatches=mismatches
    )


def _unusable(side: Side) -> Iterator[str]:
    """Why a side's tensors are no weights to compute with."""
    if line := quantization(side):
        yield line
    empty = [name for name, tensor in side.tensors.items() if 0 in tensor.shape]
    if empty:
        yield (
            f"{side.words}: {examples(empty)} of shape {list(side.tensors[empty[0]].shape)}, placeholders as "
            "DeepSpeed ZeRO-3 leaves them; consolidate first (zero_to_fp32.py, or "
            "stage3_gather_16bit_weights_on_model_save in training)"
        )


def _same_checkpoint(aligned: Side, sft: Side) -> Iterator[str]:
    if is_same_checkpoint(aligned, sft):
        yield "both sides have the same weights, so there is no update to extrapolate; give two checkpoints"


def _is_copied(recipe: Recipe, name: str, tensor: TensorRange, known: Tensors) -> bool:
    return is_buffer(name, tensor) or (name not in known and recipe.extra == "aligned")


def _has_numbers(tensor: TensorRange) -> bool:
    return tensor.dtype in FLOATS or tensor.scale is not None


def _has_rows(name: str, tensor: TensorRange, other: TensorRange) -> bool:
    return is_vocabulary(name) and tensor.shape[1:] == other.shape[1:]


def _by_rows(recipe: Recipe, name: str, tensor: TensorRange, other: TensorRange) -> bool:
    """Whether a tensor's rows are paired one by one."""
    if not _has_rows(name, tensor, other):
        return False
    different = tensor.shape != other.shape
    return recipe.vocabulary == "common-rows" or (recipe.vocabulary == "by-position" and different)


def _same_numbers(aligned: Side, tensor: TensorRange, sft: Side, other: TensorRange) -> bool:
    return tensor.dtype == other.dtype and same_bytes(aligned.source, tensor, sft.source, other)


def _not_skippable(recipe: Recipe, aligned: Side, sft: Side, skipped: tuple[str, ...]) -> Complaints:
    """A sentence for each name of the SFT side alone that is neither a buffer nor a tied copy."""
    if recipe.extra == "aligned" or not skipped:
        return
    places = {sft.tensors[name] for name in aligned.tensors if name in sft.tensors}
    for name in skipped:
        tensor = sft.tensors[name]
        alias = tensor.nbytes > 0 and tensor in places
        if not is_buffer(name, tensor) and not alias and not is_tied_head(sft, name):
            yield name, "only in the SFT checkpoint; is this the model that the aligned one came from?"


def _dtypes(tensor: TensorRange, other: TensorRange) -> str:
    floats = ", ".join(FLOATS)
    if "F64" in (tensor.dtype, other.dtype):
        return f"{tensor.dtype} and {other.dtype}; only {floats} can be extrapolated, save it as float32"
    return (
        f"{tensor.dtype} and {other.dtype}; only {floats} can be extrapolated, "
        "use the checkpoints before quantization"
    )


def _shapes(name: str, tensor: TensorRange, other: TensorRange) -> str:
    what = f"shape {list(tensor.shape)}, on the SFT side {list(other.shape)}"
    if _has_rows(name, tensor, other):
        return f"{what}; --vocabulary common-rows extrapolates the tokens that both have"
    return f"{what}; is this the model that the aligned one came from?"
