"""The `expo` command: everything on one machine.

    expo families                                        what there is to run
    expo check zephyr-7b-beta                            would it work? reads headers only
    expo extrapolate --sft A --aligned B --alpha 0.3 --out DIR
    expo run zephyr-7b-beta --judge-model gpt-4o         from two checkpoints to a verdict
    expo demo                                            the same on a family trained on the spot

Imports are inside the commands: `expo --help` answers at once, and `expo extrapolate`
loads neither Prefect nor vLLM.
"""

import logging
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import ExpoError, InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge import Judge
    from tasks.weights.plan import Plan

__all__ = ["app", "main"]

PREFECT_SETTINGS = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "expo",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(flow_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
DEMO_ALPHAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

app = typer.Typer(
    name="expo",
    help="Model extrapolation (ExPO): a better-aligned model from two checkpoints, without training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SFT = Annotated[str | None, typer.Option(help="The SFT checkpoint θ_0: a folder or a hub id.")]
ALIGNED = Annotated[str | None, typer.Option(help="The aligned checkpoint θ_1: a folder or a hub id.")]


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"α is a finite number, not {value}")
    return value


ALPHA = Annotated[float | None, typer.Option(help="α; default: the family's.", callback=_finite)]
STORE = Annotated[
    str, typer.Option(envvar="EXPO_STORE", help="Where artefacts go: a folder or s3://bucket/prefix.")
]


def main() -> None:
    """Runs the command; exit status 2 for bad input, 1 for any other known error."""
    try:
        app()
    except ExpoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)


@app.command()
def families(
    name: Annotated[str | None, typer.Argument(help="One family, to see all that is known of it.")] = None,
) -> None:
    """Lists the families, α and the published figures; or all of one family."""
    from flows.tables import families_table, family_table
    from tasks.families import family

    if name is None:
        families_table()
    else:
        family_table(family(name))


@app.command()
def check(
    family: Annotated[
        str | None, typer.Argument(help="A family's name, or give --sft and --aligned.")
    ] = None,
    sft: SFT = None,
    aligned: ALIGNED = None,
    alpha: ALPHA = None,
) -> None:
    """Says whether two checkpoints fit and what the extrapolation needs, from headers alone."""
    from flows.tables import plan_table
    from tasks.families import family as find

    if family is not None and (sft or aligned):
        raise InputError("check: give a family's name, or --sft and --aligned, not both")
    entry = find(family) if family is not None else None
    sft, aligned = (entry.sft, entry.aligned) if entry else (sft, aligned)
    if sft is None or aligned is None:
        raise InputError("check: give a family's name (see `expo families`), or both --sft and --aligned")
    plan_table(_plan(aligned, sft, alpha if alpha is not None else entry.alpha if entry else 0.5))


@app.command()
def extrapolate(
    sft: Annotated[str, typer.Option(help="The SFT checkpoint θ_0: a folder or a hub id.")],
    aligned: Annotated[str, typer.Option(help="The aligned checkpoint θ_1: a folder or a hub id.")],
    alpha: Annotated[float, typer.Option(help="α in θ_1 + α·(θ_1 − θ_0).", callback=_finite)],
    out: Annotated[Path, typer.Option(help="The folder for the model; made if need be.")],
) -> None:
    """Writes the ExPO model of two checkpoints into a folder. Run again, it goes on where it stopped."""
    from flows.tables import progress_bar
    from tasks.stores.artefact import Artefact
    from tasks.stores.source import open_source
    from tasks.weights.model import extrapolate as write_model

    plan = _plan(aligned, sft, alpha)
    model = Artefact(str(out.expanduser().resolve()))
    with progress_bar("extrapolating", plan.output_bytes) as advance:
        write_model(plan, open_source(aligned), open_source(sft), model, advance=advance)
    print(f"{out}: {len(plan.shards)} shards, {plan.output_bytes / 1e9:.2f} GB, α = {alpha:g}")


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="A run's name; the latest if left out.")] = None,
    store: STORE = "expo-store",
) -> None:
    """Prints a run's verdicts again, and where its page lies."""
    from flows.tables import show_report

    show_report(store, name)


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="FAMILY...", help="Names from `expo families`.")],
    alpha: ALPHA = None,
    curve: Annotated[list[float] | None, typer.Option(help="More values of α for the curve.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's model name.")] = None,
    judge_url: Annotated[str | None, typer.Option(help="Its OpenAI-compatible endpoint.")] = None,
    store: STORE = "expo-store",
) -> None:
    """Takes families from two checkpoints to a verdict, with Prefect, on this machine."""
    from tasks.benchmarks.judge import Judge

    judge = Judge(model=judge_model, base_url=judge_url) if judge_model else None
    _run(tuple(names), alpha, tuple(curve or ()), judge, store)


@app.command()
def demo(store: STORE = "expo-store") -> None:
    """Trains a tiny family, extrapolates it, and shows that it helped: about three minutes."""
    _run(("demo",), None, DEMO_ALPHAS, None, store)


def _plan(aligned: str, sft: str, alpha: float) -> "Plan":
    from tasks.stores.source import open_source
    from tasks.weights.plan import make_plan
    from tasks.weights.recipe import Recipe

    ours, theirs = open_source(aligned), open_source(sft)
    return make_plan(Recipe(aligned=ours.checkpoint, sft=theirs.checkpoint, alpha=alpha), ours, theirs)


def _run(
    names: tuple[str, ...],
    alpha: float | None,
    curve: tuple[float, ...],
    judge: "Judge | None",
    store: str,
) -> None:
    from flows.tables import show_report
    from tasks.families import family as find

    families = [find(name) for name in names]
    _show_progress()
    from flows.expo import expo
    from flows.family import find_judge
    from flows.parameters import FamilyName

    for entry in families:
        find_judge(entry, judge)
    uri = expo(tuple(FamilyName(name) for name in names), alpha=alpha, curve=curve, judge=judge, store=store)
    show_report(store, uri.rpartition("/")[2])


def _show_progress() -> None:
    """Lets Prefect's log read as progress, on the terminal and in the UI; what the user has set stays."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    lines = logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("expo")
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)


if __name__ == "__main__":
    main()
