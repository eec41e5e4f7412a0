"""The command `expo extrapolate`. It loads neither Prefect nor vLLM."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.stores import SIGN, extrapolate_to_hub
from flows.cli.weight_options import (
    ALLOW,
    DEQUANTIZE,
    DTYPE,
    EXTRA,
    FROM_SEARCH,
    MERGE,
    SFT,
    STREAM,
    VOCABULARY,
    check_alphas,
    check_bytes,
    parse_module_alpha,
)
from tasks.core.errors import InputError
from tasks.weights.memory import parse_bytes
from tasks.weights.options import Arithmetic, Device, ModulePreset, Nonfinite

if TYPE_CHECKING:
    from tasks.weights.jobs import Plan
    from tasks.weights.pass_options import Parents, PassOptions

__all__ = ["extrapolate"]


def extrapolate(
    aligned: Annotated[
        str, typer.Option(help="The aligned checkpoint θ_1, or a LoRA adapter: a folder, hub id or s3://….")
    ],
    alpha: Annotated[
        list[str],
        typer.Option(
            help="α in θ_1 + α·(θ_1 − θ_0); repeat it for several in one pass; "
            "from-search: what `expo search` found for this pair.",
            callback=check_alphas,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="A folder, made if need be, or s3://…; several α: OUT/alpha-0.1, OUT/alpha-0.3, …; "
            "or hf://org/name: straight to the Hub, privately, with a card."
        ),
    ],
    sft: SFT = None,
    merge: MERGE = False,
    dtype: DTYPE = None,
    module_alpha: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE[@LAYERS]=α", help="Another α for attention, mlp@0-15, …; the first wins."
        ),
    ] = None,
    module_preset: Annotated[
        ModulePreset | None,
        typer.Option(help="A named shape of α over modules (fusionbench) or layers (lines)."),
    ] = None,
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="fp32 with one rounding, or the authors' bf16 operations bit for bit.")
    ] = "fp32",
    vocabulary: VOCABULARY = "error",
    extra: EXTRA = "error",
    allow: ALLOW = None,
    dequantize: DEQUANTIZE = False,
    nonfinite: Annotated[Nonfinite, typer.Option(help="NaN or Inf in a parent: refuse, or count.")] = "error",
    shard_size: Annotated[
        str | None,
        typer.Option(help="As 5GB; default: the aligned checkpoint's layout.", callback=check_bytes),
    ] = None,
    device: Annotated[Device, typer.Option(help="cuda, or auto: a GPU where there is one.")] = "cpu",
    stream: STREAM = False,
    sign: SIGN = None,
    store: Annotated[str, typer.Option(envvar="EXPO_STORE", help="Where from-search looks.")] = "expo-store",
) -> None:
    """Writes the ExPO model of two checkpoints, at one α or several. Resumes after an interruption.

    Of a LoRA adapter it writes the adapter at (1 + α) times its scale where that is exact, else, and
    with --merge, the whole model; without --sft the base model that the adapter names is the SFT side.
    MODULE is attention, mlp, embeddings, head, norms or a regular expression; LAYERS is FIRST-LAST.
    $EXPO_MEMORY (1GB) bounds what the shards that are made at once hold in buffers.
    """
    from flows.library.pair_models import plans_of
    from tasks.weights.adapter_base import open_parents
    from tasks.weights.pair_settings import PairSettings
    from tasks.weights.pass_options import PassOptions
    from tasks.weights.signature import check_private_key

    if sign:
        check_private_key(sign)
    parents = open_parents(aligned, sft)
    alphas = _alphas(alpha, parents, store)
    settings = PairSettings(
        dtype=dtype,
        module_alphas=tuple(parse_module_alpha(text) for text in module_alpha or ()),
        preset=module_preset,
        arithmetic=arithmetic,
        vocabulary=vocabulary,
        extra=extra,
        allow=tuple(allow or ()),
        dequantize=dequantize,
        nonfinite=nonfinite,
        shard_bytes=parse_bytes(shard_size) if shard_size else None,
        merge=merge,
    )
    options = PassOptions(inputs="stream" if stream else "download", device=device)
    if out.startswith("hf://"):
        if len(alphas) > 1:
            raise InputError(f"--out {out}: a repository holds one model; give one α, or a folder or s3://…")
        recipe = settings.recipe(parents, alphas[0])
        extrapolate_to_hub(recipe, parents, out.removeprefix("hf://"), options, sign)
        return
    _extrapolate_to(out, plans_of(parents, alphas, settings), parents, options, sign)


def _extrapolate_to(
    out: str, plans: "tuple[Plan, ...]", parents: "Parents", options: "PassOptions", sign: Path | None
) -> None:
    """Writes one model for each α, signed if a private key is given, and says what was written where."""
    from flows.cli.tables import plan_notices, progress_bar
    from flows.library.pair_models import folders_of, plain_alpha, write_models
    from tasks.stores.artefact import Artefact
    from tasks.weights.signature import sign as sign_model

    with progress_bar("extrapolating", sum(plan.output_bytes for plan in plans)) as advance:
        models = write_models(plans, parents, out, options, advance)
    if sign:
        for model in models:
            sign_model(Artefact(model.uri), sign)
    for folder, plan in zip(folders_of(plans, out), plans, strict=True):
        print(f"{folder}: {_size(plan)}, α = {plain_alpha(plan.recipe.alpha)}")
    for notice in plan_notices(plans[0]):
        print(notice)


def _size(plan: "Plan") -> str:
    if plan.recipe.adapter == "scale":
        return f"the adapter at (1 + α) times its scale, {plan.output_bytes / 1e6:.1f} MB"
    shards = "1 shard" if len(plan.shards) == 1 else f"{len(plan.shards)} shards"
    return f"{shards}, {plan.output_bytes / 1e9:.2f} GB"


def _alphas(given: list[str], parents: "Parents", store: str) -> tuple[float, ...]:
    """Each α once; `from-search` becomes what the store's search of this pair found."""
    found = {}
    if FROM_SEARCH in given:
        from tasks.search.found import alpha_of_search
        from tasks.stores.artefact import Store

        found[FROM_SEARCH] = alpha_of_search(Store(store), parents.aligned.checkpoint, parents.sft.checkpoint)
    return tuple(dict.fromkeys(found[text] if text in found else float(text) for text in given))
