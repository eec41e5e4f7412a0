"""The `expo` command: everything on one machine.

    expo families                                        lists the families
    expo check zephyr-7b-beta                            checks a pair from its headers
    expo extrapolate --sft A --aligned B --alpha 0.3 --out DIR     or s3://…, or hf://org/name
    expo verify DIR                                      checks a model against its manifest and parents
    expo publish DIR org/name                            to the Hugging Face Hub, with a model card
    expo gc STORE                                        lists files that no manifest references
    expo run zephyr-7b-beta --judge-model gpt-4o         from two checkpoints to a verdict
    expo search --sft A --aligned B --prompts P --judge-model gpt-4o         finds α, or none that helps
    expo history                                         each family's gain over the runs of a store
    expo data fetch                                      downloads the benchmarks' data
    expo score alpaca_eval annotations.json              the figures of any file of judgments
    expo guard ifeval answers.json                       the figures of stored answers, by a rule
    expo compare A.json B.json                           decides whether B's model is better than A's
    expo judge A.json B.json --judge-preset gpt-4.1      judges two files of answers and compares them
    expo demo                                            a run of a family trained on the spot

Imports are inside the commands: `expo --help` answers at once, and `expo extrapolate`
loads neither Prefect nor vLLM.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli import benchmarks, extras
from flows.cli.check import check
from flows.cli.extrapolate import extrapolate
from flows.cli.generation_options import make_generation
from flows.cli.guard import guard
from flows.cli.history import history
from flows.cli.interrupts import ends_on_signals
from flows.cli.judge import judge as judge_answers
from flows.cli.judge_options import make_judge
from flows.cli.option_groups import with_options
from flows.cli.progress import hide_own_tracebacks, set_quiet, show_progress
from flows.cli.search import search
from flows.cli.start import shorten_start
from flows.cli.stores import gc, publish
from flows.cli.verify import verify
from flows.cli.weight_options import DEQUANTIZE, STREAM, check_alpha
from tasks.benchmarks.table import DEFAULT
from tasks.core.errors import ExpoError, InputError
from tasks.core.text_files import printable

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.comparison.decoding import GenerationConfig
    from tasks.comparison.run_config import Alpha, RunConfig

__all__ = ["app", "main"]

AFTER_DEMO = """
Your own two checkpoints, A (SFT) and B (aligned): folders, hub ids or s3://bucket/prefix
  expo check       --sft A --aligned B                              do they fit, what will it take
  expo search      --sft A --aligned B --prompts P --judge-model J  which α, or none
  expo extrapolate --sft A --aligned B --alpha 0.3 --out DIR        writes the model; or --alpha from-search
  expo verify      DIR                                              computes it again from A and B
  expo run --help                                                   has both judged, as above"""

app = typer.Typer(
    name="expo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BENCHMARKS = Annotated[
    list[str] | None,
    typer.Option(
        parser=benchmarks.benchmark_name,
        metavar="BENCHMARK",
        help=f"What is answered and judged, repeatable: {benchmarks.NAMES}.",
    ),
]
STORE = Annotated[
    str, typer.Option(envvar="EXPO_STORE", help="Where artefacts go: a folder or s3://bucket/prefix.")
]


def main() -> None:
    """Runs the command; exit status 2 for bad input, 1 for other known errors, 130 and 143 after a signal."""
    shorten_start()
    try:
        with ends_on_signals():
            try:
                app()
            except ModuleNotFoundError as error:
                extras.explain_missing(error)
    except ExpoError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"expo-flows {version('expo-flows')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress; results, warnings and errors only.")
    ] = False,
) -> None:
    """Model extrapolation (ExPO): a better-aligned model from two checkpoints, without training."""
    set_quiet(quiet)


@app.command()
def families(
    name: Annotated[str | None, typer.Argument(help="One family, to see all that is known of it.")] = None,
    as_json: benchmarks.AS_JSON = False,
) -> None:
    """Lists the families, α and the published figures; or all of one family."""
    from flows.cli.tables import families_table, family_table, print_values
    from tasks.core.families import find_family, registry

    if as_json:
        print_values(registry().values() if name is None else [find_family(name)])
    elif name is None:
        families_table()
    else:
        family_table(find_family(name))


app.command()(check)
app.command()(extrapolate)
app.command()(verify)
app.command()(publish)
app.command()(gc)
app.command()(history)
app.command()(search)
app.command()(benchmarks.score)
app.command()(guard)
app.command()(benchmarks.compare)
app.command()(benchmarks.anchors)
app.command()(benchmarks.agreement)
app.command(name="judge")(judge_answers)
app.add_typer(benchmarks.data, name="data")


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="A run's name; the latest if left out.")] = None,
    store: STORE = "expo-store",
    as_json: benchmarks.AS_JSON = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a row for each verdict, unrounded.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print tables for a paper (booktabs).")] = False,
    cite: Annotated[
        bool, typer.Option("--cite", help="Print what the figures rest on: BibTeX, judges, versions.")
    ] = False,
) -> None:
    """Prints a run's verdicts again, and the path of its page."""
    from flows.cli.reports import Form, print_report, show_report

    wanted: dict[Form, bool] = {"json": as_json, "csv": as_csv, "latex": latex, "cite": cite}
    forms = [form for form, asked in wanted.items() if asked]
    if len(forms) > 1:
        raise InputError(f"report: give one of {', '.join(f'--{form}' for form in forms)}")
    if forms:
        print_report(store, name, forms[0])
    else:
        show_report(store, name)


@app.command()
@with_options("generation", make_generation)
@with_options("judge", make_judge)
def run(
    names: Annotated[list[str], typer.Argument(metavar="FAMILY...", help="Names from `expo families`.")],
    alpha: Annotated[
        str | None,
        typer.Option(help="α; search: found on held-out prompts; default: the family's."),
    ] = None,
    curve: Annotated[list[float] | None, typer.Option(help="More values of α for the curve.")] = None,
    benchmark: BENCHMARKS = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help='Your own prompts, JSON lines with a "prompt": + ExPO against the original.'),
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK[:SAMPLE][=POINTS]",
            help="What says what the gain costs, repeatable: ifeval, gsm8k=3, gsm8k:200; see docs/guards.md.",
        ),
    ] = None,
    rejudge: Annotated[
        Literal["failed"] | None,
        typer.Option(help="Ask once more for the items that finished judgings have no judgment of."),
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Stored annotations, to measure how far the judge is from theirs.")
    ] = None,
    generation: "GenerationConfig | None" = None,
    judge: "Judge | None" = None,
    store: STORE = "expo-store",
    stream: STREAM = False,
    dequantize: DEQUANTIZE = False,
) -> None:
    """Takes families from two checkpoints to a verdict, with Prefect, on this machine."""
    from tasks.comparison.decoding import GenerationConfig
    from tasks.comparison.guards import parse_guard
    from tasks.comparison.run_config import RunConfig

    for text in guard or ():
        parse_guard(text)
    config = RunConfig(
        alpha=_alpha(alpha),
        curve=tuple(curve or ()),
        benchmarks=tuple(benchmark or (() if prompts else (DEFAULT,))),
        prompts=str(prompts.resolve()) if prompts else None,
        guards=tuple(guard or ()),
        judge=judge,
        store=store,
        inputs="stream" if stream else "download",
        dequantize=dequantize,
        rejudge=rejudge,
        generation=generation or GenerationConfig(),
    )
    _run(tuple(names), config, str(anchors.resolve()) if anchors else None)


@app.command()
def demo(store: STORE = "expo-store") -> None:
    """Trains a tiny family, extrapolates it, and shows that it helped: about three minutes."""
    from tasks.comparison.run_config import RunConfig

    _run(("demo",), RunConfig(alpha="search", store=store))
    print(AFTER_DEMO)


def _alpha(text: str | None) -> "Alpha | None":
    """Of a run: a number, or the word `search`."""
    if text is None:
        return None
    if text == "search":
        return "search"
    try:
        return check_alpha(float(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; give α, or search") from None


def _run(names: tuple[str, ...], config: "RunConfig", anchors: str | None = None) -> None:
    from flows.cli.reports import show_report
    from tasks.core.families import find_family

    families = [find_family(name) for name in names]  # refuses an unknown one before Prefect is loaded
    modules = {module for family in families for module in family.provider_needs}
    served_here = config.judge is not None and config.judge.serve is not None
    extras.require_for_run(modules=modules, engine=config.generation.endpoint is None or served_here)
    show_progress()
    from flows.expo import check_run, expo
    from flows.parameters import FamilyName
    from tasks.runtime.local_server import ensure_server

    chosen = tuple(FamilyName(name) for name in names)
    check_run(chosen, config)
    hide_own_tracebacks()
    ensure_server()
    uri = expo(chosen, **dict(config), anchors=anchors)
    show_report(str(config.store), uri.rpartition("/")[2])
