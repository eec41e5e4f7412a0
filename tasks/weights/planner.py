"""The plan: which bytes of which files make each output shard. Every refusal happens here."""

from collections.abc import Iterator, Mapping, Sequence

from tasks.core.errors import MismatchError
from tasks.stores.source import Source
from tasks.weights.adapter_planner import make_adapter_plans
from tasks.weights.configuration import compare
from tasks.weights.headers import TensorRange
from tasks.weights.jobs import Plan, TensorJob
from tasks.weights.modules import alpha_of, module_alpha_errors
from tasks.weights.output_config import config_changes
from tasks.weights.pairing import Pairing, pair_tensors
from tasks.weights.recipe import Recipe
from tasks.weights.shard_layout import lay_out, output_dtype
from tasks.weights.sides import Side, read_side

__all__ = ["make_plan", "make_plans"]


def make_plan(recipe: Recipe, aligned: Source, sft: Source) -> Plan:
    """One plan: see `make_plans`."""
    return make_plans([recipe], aligned, sft)[0]


def make_plans(recipes: Sequence[Recipe], aligned: Source, sft: Source) -> tuple[Plan, ...]:
    """Reads both checkpoints' headers, once, and lays the output of each recipe out.

    Raises:
        MismatchError: the two do not fit; it names every mismatch and what to do.
        InputError, CorruptError: as `read_checkpoint`.
    """
    if recipes[0].adapter:
        return make_adapter_plans(recipes, aligned, sft)
    sides = read_side("aligned", aligned), read_side("SFT", sft)
    return tuple(_plan(recipe, *sides) for recipe in recipes)


def _plan(recipe: Recipe, aligned: Side, sft: Side) -> Plan:
    pairing = pair_tensors(recipe, aligned, sft)
    differences, notices = _compare_configs(recipe, aligned, sft)
    mismatches = [*differences, *pairing.mismatches]
    mismatches += _impossible(recipe, pairing.aligned) if pairing.aligned or not mismatches else ()
    if mismatches:
        lines = "\n  ".join(mismatches)
        raise MismatchError(f"{recipe.aligned.uri} and {recipe.sft.uri} do not fit each other:\n  {lines}")
    jobs = [_tensor_job(recipe, name, tensor, pairing) for name, tensor in pairing.aligned.items()]
    shards = lay_out(recipe, aligned.layout, jobs)
    return Plan(
        recipe=recipe,
        shards=shards,
        side_files=aligned.layout.side_files,
        skipped=pairing.skipped,
        copied=pairing.copied,
        left_out=aligned.layout.left_out,
        notices=(*pairing.notices, *notices),
        parameters=sum(job.elements for job in jobs if job.sft),
        output_bytes=sum(shard.bytes for shard in shards),
        input_bytes=_weight_bytes(aligned) + _weight_bytes(sft),
    )


def _compare_configs(recipe: Recipe, aligned: Side, sft: Side) -> tuple[list[str], list[str]]:
    """The differences for which a pair is refused, and those that are only noted."""
    if aligned.config is None:
        return [f"{aligned.words} has no config.json; without it nothing loads the output, add it"], []
    if sft.config is None:
        return [], ["the SFT side has no config.json that can be read: configurations were not compared"]
    differences, notices = compare(aligned.config, sft.config)
    notices = (*notices, *config_changes(recipe, aligned.config))
    refused = [
        f"config.json: {difference}; if that is meant, --allow {difference.name}"
        for difference in differences
        if difference.name not in recipe.allow
    ]
    allowed = [
        f"config.json: {difference}, which was allowed"
        for difference in differences
        if difference.name in recipe.allow
    ]
    return refused, [*allowed, *notices]


def _impossible(recipe: Recipe, tensors: Mapping[str, TensorRange]) -> Iterator[str]:
    """A sentence for each setting of the recipe that makes no sense for these tensors."""
    if not tensors:
        yield "the aligned checkpoint holds no tensors"
    if recipe.arithmetic == "parity" and recipe.output_dtype not in (None, "bfloat16"):
        yield f"arithmetic 'parity' writes bfloat16, not {recipe.output_dtype}; leave output_dtype out"
    yield from module_alpha_errors(recipe, tensors)


def _tensor_job(recipe: Recipe, name: str, tensor: TensorRange, pairing: Pairing) -> TensorJob:
    sft = pairing.sft[name]
    return TensorJob(
        name=name,
        dtype=tensor.dtype if sft is None and tensor.scale is None else output_dtype(recipe, tensor),
        shape=tensor.shape,
        alpha=alpha_of(recipe, name),
        aligned=tensor,
        sft=sft,
        sft_parts=pairing.parts.get(name, ()) if sft else (),
        rows=pairing.rows.get(name, ()),
    )


def _weight_bytes(side: Side) -> int:
    files = side.source.files()
    return sum(files[name].size for name in side.layout.weight_files)
