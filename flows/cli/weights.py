"""The commands about weights: check and extrapolate. They load neither Prefect nor vLLM."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.judge_options import make_judge, print_estimate
from flows.cli.option_groups import with_options
from flows.cli.stores import SIGN, extrapolate_to_hub
from tasks.core.errors import InputError
from tasks.weights.memory import parse_bytes
from tasks.weights.options import Arithmetic, Device, Extra, Nonfinite, OutputDtype, Vocabulary

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.core.families import Family
    from tasks.weights.pass_options import Parents
    from tasks.weights.recipe import ModuleAlpha

__all__ = ["ALPHA", "STREAM", "check", "extrapolate"]

FROM_SEARCH = "from-search"
LARGEST_ALPHA = 3.4e38
MODULE_ALPHA = re.compile(r"(?P<pattern>.*?)(@(?P<first>\d+)-(?P<last>\d+))?=(?P<alpha>[^=]+)")


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"α is a finite number, not {value}")
    if value is not None and abs(value) > LARGEST_ALPHA:
        raise typer.BadParameter(f"α = {value:g} is beyond what fp32 arithmetic has")
    return value


def _all_alphas(values: list[str]) -> list[str]:
    for value in values:
        if value != FROM_SEARCH:
            try:
                _finite(float(value))
            except ValueError:
                raise typer.BadParameter(f"{value!r} is no number; give α, or {FROM_SEARCH}") from None
    return values


def _bytes(value: str | None) -> str | None:
    if value is not None and not parse_bytes(value):
        raise typer.BadParameter(f"{value!r} is no size; write 5GB or 500MB")
    return value


ALPHA = Annotated[float | None, typer.Option(help="α; default: the family's.", callback=_finite)]
SFT = Annotated[
    str | None, typer.Option(help="The SFT checkpoint θ_0: a folder, hub id[@revision] or s3://….")
]
ALIGNED = Annotated[str | None, typer.Option(help="The aligned checkpoint θ_1: a folder, hub id or s3://….")]
STREAM = Annotated[
    bool,
    typer.Option(
        "--stream", help="Read weights by ranges, without a file on disk; see the manifest's checks."
    ),
]
MERGE = Annotated[
    bool,
    typer.Option("--merge", help="Of an adapter: write the whole model, not the adapter at another scale."),
]
VOCABULARY = Annotated[
    Vocabulary,
    typer.Option(
        help="Rows of other tokens: refuse, pair those of equal tokens, or pair them as they stand."
    ),
]
DTYPE = Annotated[OutputDtype | None, typer.Option(help="Of the output; default: the aligned checkpoint's.")]
EXTRA = Annotated[
    Extra,
    typer.Option(help="Parameters of one side alone: refuse, or copy the aligned side's and drop the SFT's."),
]
ALLOW = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD", help="A field of config.json that may differ, as rope_theta; repeatable."),
]
DEQUANTIZE = Annotated[
    bool, typer.Option("--dequantize", help="fp8 weights with known scales: multiply them; written is bf16.")
]


@with_options("judge", make_judge, only=("judge_model", "judge_serve", "both_orders", "judge_price"))
def check(
    family: Annotated[str | None, typer.Argument(help="A family, or give --sft and --aligned.")] = None,
    sft: SFT = None,
    aligned: ALIGNED = None,
    alpha: ALPHA = None,
    dtype: DTYPE = None,
    vocabulary: VOCABULARY = "error",
    extra: EXTRA = "error",
    allow: ALLOW = None,
    dequantize: DEQUANTIZE = False,
    merge: MERGE = False,
    judge: "Judge | None" = None,
) -> None:
    """Says whether two checkpoints fit and what the extrapolation takes, from headers alone.

    The aligned side may be a LoRA adapter; without --sft the base model that it names is the SFT side.
    With a judge named, also what judging both arms takes.
    """
    from flows.cli.tables import plan_table
    from tasks.weights.adapter_base import adapter_mode, open_parents
    from tasks.weights.hints import exchanged
    from tasks.weights.planner import make_plan
    from tasks.weights.recipe import Recipe

    if family is not None and (sft or aligned):
        raise InputError("check: give a family's name, or --sft and --aligned, not both")
    entry = _find(family) if family is not None else None
    aligned, sft = entry.checkpoints if entry else (aligned, sft)
    if aligned is None:
        raise InputError("check: give a family's name (see `expo families`), or both --sft and --aligned")
    parents = open_parents(aligned, sft)
    usual = entry.alpha if entry else 0.5
    recipe = Recipe(
        aligned=parents.aligned.checkpoint,
        sft=parents.sft.checkpoint,
        alpha=usual if alpha is None else alpha,
        output_dtype=dtype,
        vocabulary=vocabulary,
        extra=extra,
        allow=tuple(sorted({*(allow or ()), *(entry.allow if entry else ())})),
        dequantize=dequantize,
        adapter=adapter_mode(parents.aligned, merge),
    )
    plan_table(make_plan(recipe, *parents), exchanged(*parents))
    if judge is not None:
        print_estimate(judge)


def extrapolate(
    aligned: Annotated[
        str, typer.Option(help="The aligned checkpoint θ_1, or a LoRA adapter: a folder, hub id or s3://….")
    ],
    alpha: Annotated[
        list[str],
        typer.Option(
            help="α in θ_1 + α·(θ_1 − θ_0); repeat it for several in one pass; "
            "from-search: what `expo search` found for this pair.",
            callback=_all_alphas,
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
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="fp32 with one rounding, or the authors' bf16 operations bit for bit.")
    ] = "fp32",
    vocabulary: VOCABULARY = "error",
    extra: EXTRA = "error",
    allow: ALLOW = None,
    dequantize: DEQUANTIZE = False,
    nonfinite: Annotated[Nonfinite, typer.Option(help="NaN or Inf in a parent: refuse, or count.")] = "error",
    shard_size: Annotated[
        str | None, typer.Option(help="As 5GB; default: the aligned checkpoint's layout.", callback=_bytes)
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
    from flows.cli.tables import plan_notices, progress_bar
    from tasks.stores.artefact import Artefact
    from tasks.weights.adapter_base import adapter_mode, open_parents
    from tasks.weights.extrapolation import extrapolate_all
    from tasks.weights.pass_options import PassOptions
    from tasks.weights.planner import make_plans
    from tasks.weights.recipe import Recipe
    from tasks.weights.signature import check_private_key
    from tasks.weights.signature import sign as sign_model

    if sign:
        check_private_key(sign)
    parents = open_parents(aligned, sft)
    alphas = _alphas(alpha, parents, store)
    recipe = Recipe(
        aligned=parents.aligned.checkpoint,
        sft=parents.sft.checkpoint,
        alpha=alphas[0],
        arithmetic=arithmetic,
        output_dtype=dtype,
        vocabulary=vocabulary,
        extra=extra,
        allow=tuple(sorted(set(allow or ()))),
        dequantize=dequantize,
        nonfinite=nonfinite,
        module_alphas=tuple(_module_alpha(text) for text in module_alpha or ()),
        shard_bytes=parse_bytes(shard_size) if shard_size else None,
        adapter=adapter_mode(parents.aligned, merge),
    )
    options = PassOptions(inputs="stream" if stream else "download", device=device)
    if out.startswith("hf://"):
        if len(alphas) > 1:
            raise InputError(f"--out {out}: a repository holds one model; give one α, or a folder or s3://…")
        extrapolate_to_hub(recipe, parents, out.removeprefix("hf://"), options, sign)
        return
    plans = make_plans([recipe.model_copy(update={"alpha": value}) for value in alphas], *parents)
    folders = [out] if len(alphas) == 1 else [f"{out.rstrip('/')}/alpha-{_plain(value)}" for value in alphas]
    models = [Artefact(_uri(folder)) for folder in folders]
    with progress_bar("extrapolating", sum(plan.output_bytes for plan in plans)) as advance:
        extrapolate_all(plans, parents, models, options, advance)
    if sign:
        for model in models:
            sign_model(model, sign)
    for folder, plan in zip(folders, plans, strict=True):
        shards = "1 shard" if len(plan.shards) == 1 else f"{len(plan.shards)} shards"
        size = f"{shards}, {plan.output_bytes / 1e9:.2f} GB"
        if plan.recipe.adapter == "scale":
            size = f"the adapter at (1 + α) times its scale, {plan.output_bytes / 1e6:.1f} MB"
        print(f"{folder}: {size}, α = {_plain(plan.recipe.alpha)}")
    for notice in plan_notices(plans[0]):
        print(notice)


def _alphas(given: list[str], parents: "Parents", store: str) -> tuple[float, ...]:
    """Each α once; `from-search` becomes what the store's search of this pair found."""
    found = {}
    if FROM_SEARCH in given:
        from tasks.search.found import alpha_of_search
        from tasks.stores.artefact import Store

        found[FROM_SEARCH] = alpha_of_search(Store(store), parents.aligned.checkpoint, parents.sft.checkpoint)
    return tuple(dict.fromkeys(found[text] if text in found else float(text) for text in given))


def _find(name: str) -> "Family":
    from tasks.core.families import find_family

    return find_family(name)


def _plain(alpha: float) -> str:
    return str(alpha).removesuffix(".0")


def _uri(text: str) -> str:
    return text if "://" in text else str(Path(text).expanduser().resolve())


def _module_alpha(text: str) -> "ModuleAlpha":
    from tasks.weights.recipe import ModuleAlpha

    found = MODULE_ALPHA.fullmatch(text)
    try:
        if not found or not (found["pattern"] or found["first"]):
            raise ValueError("neither a module nor layers")
        re.compile(found["pattern"])
        layers = (int(found["first"]), int(found["last"])) if found["first"] else None
        if not math.isfinite(alpha := float(found["alpha"])):
            raise ValueError("α is a finite number")
        if abs(alpha) > LARGEST_ALPHA:
            raise ValueError("α is beyond what fp32 arithmetic has")
        return ModuleAlpha(pattern=found["pattern"], layers=layers, alpha=alpha)
    except (re.error, ValueError) as error:
        raise InputError(
            f"--module-alpha {text!r}: write MODULE=NUMBER or MODULE@FIRST-LAST=NUMBER, as mlp@0-15=0.2"
        ) from error
