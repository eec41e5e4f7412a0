"""The commands about weights: check, extrapolate, verify. They load neither Prefect nor vLLM."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import CorruptError, InputError
from tasks.weights.recipe import Arithmetic, ModuleAlpha, Nonfinite, OutputDtype, Recipe, Vocabulary
from tasks.weights.shard import Device

if TYPE_CHECKING:
    from tasks.stores.source import Source

__all__ = ["ALPHA", "check", "extrapolate", "verify"]

SIZE = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[kMGT]?)B?")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"α is a finite number, not {value}")
    return value


def _bytes(value: str | None) -> str | None:
    if value is not None and not SIZE.fullmatch(value):
        raise typer.BadParameter(f"{value!r} is no size; write 5GB or 500MB")
    return value


ALPHA = Annotated[float | None, typer.Option(help="α; default: the family's.", callback=_finite)]
SFT = Annotated[str | None, typer.Option(help="The SFT checkpoint θ_0: a folder, hub id or s3://….")]
ALIGNED = Annotated[str | None, typer.Option(help="The aligned checkpoint θ_1: a folder, hub id or s3://….")]
VOCABULARY = Annotated[
    Vocabulary,
    typer.Option(help="Different vocabulary rows: refuse, or extrapolate the common."),
]


def check(
    family: Annotated[str | None, typer.Argument(help="A family, or give --sft and --aligned.")] = None,
    sft: SFT = None,
    aligned: ALIGNED = None,
    alpha: ALPHA = None,
    vocabulary: VOCABULARY = "error",
) -> None:
    """Says whether two checkpoints fit and what the extrapolation takes, from headers alone."""
    from flows.tables import plan_table
    from tasks.families import family as find
    from tasks.weights.plan import make_plan

    if family is not None and (sft or aligned):
        raise InputError("check: give a family's name, or --sft and --aligned, not both")
    entry = find(family) if family is not None else None
    sft, aligned = (entry.sft, entry.aligned) if entry else (sft, aligned)
    if sft is None or aligned is None:
        raise InputError("check: give a family's name (see `expo families`), or both --sft and --aligned")
    ours, theirs = _sources(aligned, sft)
    usual = entry.alpha if entry else 0.5
    recipe = Recipe(
        aligned=ours.checkpoint,
        sft=theirs.checkpoint,
        alpha=usual if alpha is None else alpha,
        vocabulary=vocabulary,
    )
    plan_table(make_plan(recipe, ours, theirs))


def extrapolate(
    sft: Annotated[str, typer.Option(help="The SFT checkpoint θ_0: a folder, hub id or s3://….")],
    aligned: Annotated[str, typer.Option(help="The aligned checkpoint θ_1: a folder, hub id or s3://….")],
    alpha: Annotated[float, typer.Option(help="α in θ_1 + α·(θ_1 − θ_0).", callback=_finite)],
    out: Annotated[str, typer.Option(help="Where the model goes: a folder, made if need be, or s3://….")],
    dtype: Annotated[
        OutputDtype | None,
        typer.Option(help="Of the output; default: the aligned checkpoint's."),
    ] = None,
    module_alpha: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN=α", help="Another α where the name matches; the first wins."),
    ] = None,
    arithmetic: Annotated[
        Arithmetic, typer.Option(help="fp32 with one rounding, or the authors' bf16 operations bit for bit.")
    ] = "fp32",
    vocabulary: VOCABULARY = "error",
    nonfinite: Annotated[Nonfinite, typer.Option(help="NaN or Inf in a parent: refuse, or count.")] = "error",
    shard_size: Annotated[
        str | None, typer.Option(help="As 5GB; default: the aligned checkpoint's layout.", callback=_bytes)
    ] = None,
    device: Annotated[Device, typer.Option(help="auto takes a GPU where there is one.")] = "auto",
) -> None:
    """Writes the ExPO model of two checkpoints. Run again after a kill, it goes on where it stopped."""
    from flows.tables import progress_bar
    from tasks.stores.artefact import Artefact
    from tasks.weights.model import extrapolate as write_model
    from tasks.weights.plan import make_plan

    ours, theirs = _sources(aligned, sft)
    recipe = Recipe(
        aligned=ours.checkpoint,
        sft=theirs.checkpoint,
        alpha=alpha,
        arithmetic=arithmetic,
        output_dtype=dtype,
        vocabulary=vocabulary,
        nonfinite=nonfinite,
        module_alphas=tuple(_module_alpha(text) for text in module_alpha or ()),
        shard_bytes=_size(shard_size),
    )
    plan = make_plan(recipe, ours, theirs)
    model = Artefact(out if "://" in out else str(Path(out).expanduser().resolve()))
    with progress_bar("extrapolating", plan.output_bytes) as advance:
        write_model(plan, ours, theirs, model, device=device, advance=advance)
    print(f"{out}: {len(plan.shards)} shards, {plan.output_bytes / 1e9:.2f} GB, α = {alpha:g}")


def verify(
    model: Annotated[str, typer.Argument(help="An extrapolated model: a folder or s3://….")],
    tensors: Annotated[int, typer.Option(min=0, help="How many tensors to compute again.")] = 16,
    every: Annotated[bool, typer.Option("--all", help="Compute every tensor again.")] = False,
    files_only: Annotated[bool, typer.Option(help="Only hash the files, without the parents.")] = False,
) -> None:
    """Hashes a model's files against its manifest, and computes tensors again from the parents."""
    from tasks.stores.artefact import MANIFEST, Artefact
    from tasks.stores.source import reopen
    from tasks.weights.manifest import Manifest
    from tasks.weights.verify import verify as look

    artefact = Artefact(model if "://" in model else str(Path(model).expanduser().resolve()))
    content = artefact.manifest()
    if content is None:
        raise InputError(f"{model}: no {MANIFEST}; it is no model of ours, or not finished")
    parents = None
    if not files_only:
        recipe = Manifest.model_validate_json(content).recipe
        parents = (reopen(recipe.aligned), reopen(recipe.sft))
    found = look(artefact, parents, "all" if every else tensors)
    for one in found.differences:
        print(f"{one.kind}: {one.file}: {one.message}")
    if found.differences:
        raise CorruptError(f"{model}: {len(found.differences)} differences; it is not what its manifest says")
    print(f"{model}: {found.files} files and {len(found.tensors)} tensors are as they should be")


def _sources(aligned: str, sft: str) -> "tuple[Source, Source]":
    from tasks.stores.source import open_source

    return open_source(aligned), open_source(sft)


def _module_alpha(text: str) -> ModuleAlpha:
    pattern, _, number = text.rpartition("=")
    try:
        re.compile(pattern)
        alpha = float(number)
    except (re.error, ValueError) as error:
        raise InputError(f"--module-alpha {text!r}: {error}; write PATTERN=NUMBER, as mlp=0.2") from error
    if not pattern or not math.isfinite(alpha):
        raise InputError(f"--module-alpha {text!r}: write PATTERN=NUMBER, as mlp=0.2")
    return ModuleAlpha(pattern=pattern, alpha=alpha)


def _size(text: str | None) -> int | None:
    found = SIZE.fullmatch(text) if text else None
    return round(float(found["number"]) * UNITS[found["unit"]]) if found else None
