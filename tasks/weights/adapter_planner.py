"""The plan where the aligned side is an adapter: the same at another scale, or a merge while streaming."""

from collections.abc import Iterator, Sequence

from tasks.core.errors import MismatchError
from tasks.stores.source import Source
from tasks.weights.adapter import Adapter, read_adapter
from tasks.weights.adapter_pairing import AdapterPairing, pair_adapter
from tasks.weights.checkpoint import CheckpointLayout, read_checkpoint
from tasks.weights.configuration import read_config
from tasks.weights.headers import TensorRange
from tasks.weights.jobs import FLOATS, Plan, TensorJob
from tasks.weights.modules import alpha_of, module_alpha_errors
from tasks.weights.output_config import config_changes
from tasks.weights.recipe import Recipe
from tasks.weights.shard_layout import lay_out, output_dtype
from tasks.weights.vocabulary import HEAD, INPUT_EMBEDDING

__all__ = ["is_of_tokenizer", "make_adapter_plans", "own_side_files"]

SAMPLE_BYTES = 4096
# What an adapter's folder may have of its own; the rest of a merged model's files is the SFT model's.
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER = ("tokenizer", "special_tokens", "added_tokens", "chat_template", "vocab", "merges", "spiece")
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def make_adapter_plans(recipes: Sequence[Recipe], aligned: Source, sft: Source) -> tuple[Plan, ...]:
    """Reads the headers of the adapter and of the SFT checkpoint, and plans the output of each recipe.

    Raises:
        MismatchError: the adapter is none on this checkpoint, or cannot be combined with it as asked.
        InputError, CorruptError: as `read_adapter` and `read_checkpoint`.
    """
    adapter, layout = read_adapter(aligned), read_checkpoint(sft)
    pairing = pair_adapter(adapter, layout.tensors)
    mismatches = [*pairing.mismatches, *_trained_copies(adapter, layout, aligned, sft)]
    for recipe in recipes:
        refused = [*mismatches, *_impossible(recipe, adapter, pairing, layout)]
        if refused:
            lines = "\n  ".join(refused)
            raise MismatchError(f"{recipe.aligned.uri} is no adapter that fits {recipe.sft.uri}:\n  {lines}")
    return tuple(_plan(recipe, adapter, pairing, layout, aligned, sft) for recipe in recipes)


def _plan(
    recipe: Recipe,
    adapter: Adapter,
    pairing: AdapterPairing,
    layout: CheckpointLayout,
    aligned: Source,
    sft: Source,
) -> Plan:
    merge = recipe.adapter == "merge"
    jobs = [_tensor_job(recipe, name, tensor, pairing) for name, tensor in layout.tensors.items()]
    shards = lay_out(recipe, layout, jobs) if merge else ()
    of_adapter = own_side_files(adapter)
    adapter_bytes = aligned.files()[adapter.file].size
    weights = sum(sft.files()[file].size for file in layout.weight_files) if merge else 0
    return Plan(
        recipe=recipe,
        shards=shards,
        side_files=of_adapter if merge else adapter.side_files,
        sft_side_files=_sft_side_files(layout, of_adapter) if merge else (),
        skipped=(),
        notices=(_notice(recipe, pairing), *_config_changes(recipe, sft)),
        parameters=sum(job.elements for job in jobs if job.low_rank or job.aligned),
        output_bytes=sum(shard.bytes for shard in shards) if merge else adapter_bytes,
        input_bytes=adapter_bytes + weights,
    )


def _notice(recipe: Recipe, pairing: AdapterPairing) -> str:
    ranks = sorted({update.rank for update in pairing.low_rank.values()})
    rank = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
    written = "written again at (1 + α) times its scale" if recipe.adapter == "scale" else "merged"
    whole = f" and {len(pairing.saved)} whole tensors" if pairing.saved else ""
    return f"the aligned side is an adapter of {rank} on {len(pairing.low_rank)} tensors{whole}: {written}"


def _config_changes(recipe: Recipe, sft: Source) -> Iterator[str]:
    """Of a merge, whose config.json is the SFT model's."""
    if recipe.adapter == "merge":
        yield from config_changes(recipe, read_config(sft) or {})


def _tensor_job(recipe: Recipe, name: str, tensor: TensorRange, pairing: AdapterPairing) -> TensorJob:
    changed = name in pairing.low_rank or name in pairing.saved
    return TensorJob(
        name=name,
        dtype=output_dtype(recipe, tensor) if tensor.dtype in FLOATS else tensor.dtype,
        shape=tensor.shape,
        alpha=alpha_of(recipe, name) if changed else 0.0,
        aligned=pairing.saved.get(name),
        sft=tensor,
        low_rank=pairing.low_rank.get(name),
    )


def _impossible(
    recipe: Recipe, adapter: Adapter, pairing: AdapterPairing, layout: CheckpointLayout
) -> Iterator[str]:
    """A sentence for each setting that makes no sense for this adapter."""
    if recipe.arithmetic == "parity":
        yield (
            "arithmetic 'parity' is of two checkpoints' bf16 weights, and an adapter's update has none; "
            "leave it out, or merge the adapter with peft and give the merged model"
        )
    if recipe.dequantize:
        yield "--dequantize is for fp8 weights of two whole checkpoints; give the adapter's base in BF16"
    if recipe.adapter == "scale" and adapter.whole_tensors:
        yield f"the adapter holds {adapter.whole_tensors}, which no scale of it extrapolates; add --merge"
    if recipe.adapter == "scale" and recipe.output_dtype:
        yield "the output is the adapter itself, in its dtype; leave --dtype out, or add --merge"
    tied = not any(HEAD.search(name) for name in layout.tensors)
    embeddings = [name for name in pairing.low_rank if INPUT_EMBEDDING.search(name)]
    if recipe.adapter == "merge" and tied and embeddings:
        yield (
            f"{embeddings[0]}: the head is tied to it, so a merge would change the head as well, which the "
            "adapter does not; untie the SFT model's head first, or leave --merge out"
        )
    yield from module_alpha_errors(recipe, [*pairing.low_rank, *pairing.saved])


def _trained_copies(
    adapter: Adapter, layout: CheckpointLayout, aligned: Source, sft: Source
) -> Iterator[str]:
    """peft saves an embedding beside its factors, though it was not trained: samples of its bytes show it."""
    for name, copy in adapter.base_copies.items():
        held = layout.tensors.get(name)
        if held is None or held.shape != copy.shape:
            continue  # named by the pairing
        length = min(SAMPLE_BYTES, copy.nbytes)
        same = held.dtype == copy.dtype and all(
            aligned.read(copy.file, copy.offset + start, length)
            == sft.read(held.file, held.offset + start, length)
            for start in (0, (copy.nbytes - length) // 2, copy.nbytes - length)
        )
        if not same:
            yield (
                f"{name}: the adapter's copy of it is not the SFT checkpoint's; give the model that the "
                "adapter was trained on as --sft, or merge with peft and give the merged model"
            )


def own_side_files(adapter: Adapter) -> tuple[str, ...]:
    """The adapter's tokenizer, if it is a whole one; a part of one would be mixed with another's."""
    names = adapter.side_files
    whole = TOKENIZER_CONFIG in names and any(name in VOCABULARIES for name in names)
    return names if whole else ()


def is_of_tokenizer(name: str) -> bool:
    """Whether a file gives way to the adapter's own tokenizer."""
    return name.startswith(TOKENIZER)


def _sft_side_files(layout: CheckpointLayout, of_adapter: tuple[str, ...]) -> tuple[str, ...]:
    if not of_adapter:
        return layout.side_files
    return tuple(name for name in layout.side_files if not is_of_tokenizer(name))
