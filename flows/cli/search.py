"""The command `expo search`: finds the α of a pair of checkpoints in one engine, or none."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import extras
from flows.cli.judge_options import OF_COMPARISONS, make_judge
from flows.cli.objective_options import first_objective, given_objective
from flows.cli.option_groups import with_options
from flows.cli.progress import hide_own_tracebacks, show_progress
from tasks.core.errors import InputError
from tasks.weights.options import ModulePreset

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.search.result import SearchResult

__all__ = ["search", "show_search"]

RACE = "The race"
RAIL_MARGIN = 5.0  # points of a guard, of which a search asks few questions
SECOND = "Scores the choice as well, and decides nothing."
FUNCTION = Annotated[
    str | None,
    typer.Option(help="package.module:function that takes prompts and answers and scores each answer."),
]


@with_options("judge", make_judge, only=OF_COMPARISONS)
def search(
    family: Annotated[str | None, typer.Argument(help="A family, or give --sft and --aligned.")] = None,
    sft: Annotated[str | None, typer.Option(help="The SFT checkpoint θ_0.")] = None,
    aligned: Annotated[
        str | None, typer.Option(help="The aligned checkpoint θ_1, or a LoRA adapter.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Held-out prompts, JSON lines or a list; those of evaluation sets are refused. "
            "Default: the family's, else UltraFeedback's."
        ),
    ] = None,
    judge: "Judge | None" = None,
    judge_second: Annotated[
        bool, typer.Option("--judge-second", help="The judge scores the choice alone, and decides nothing.")
    ] = False,
    reward_model: Annotated[
        str | None,
        typer.Option(help="A sequence classifier (folder, hub id, s3://…) whose raw scores decide."),
    ] = None,
    second_reward_model: Annotated[str | None, typer.Option(help=SECOND)] = None,
    function: FUNCTION = None,
    second_function: Annotated[str | None, typer.Option(help=SECOND)] = None,
    lowest: Annotated[float, typer.Option(help="The smallest first α.", rich_help_panel=RACE)] = 0.1,
    highest: Annotated[
        float, typer.Option(help="The largest first α; the race goes on from it.", rich_help_panel=RACE)
    ] = 2.0,
    count: Annotated[int, typer.Option(help="How many first α.", rich_help_panel=RACE)] = 6,
    limit: Annotated[float, typer.Option(help="No α beyond this one.", rich_help_panel=RACE)] = 32.0,
    negative: Annotated[
        bool, typer.Option(help="Also α between the two checkpoints.", rich_help_panel=RACE)
    ] = False,
    first_round: Annotated[
        int, typer.Option(min=8, help="Prompts of the first round.", rich_help_panel=RACE)
    ] = 32,
    choosing: Annotated[int, typer.Option(help="Most prompts to choose on.", rich_help_panel=RACE)] = 512,
    confirming: Annotated[int, typer.Option(help="Most prompts to confirm on.", rich_help_panel=RACE)] = 512,
    module_preset: Annotated[
        ModulePreset | None,
        typer.Option(help="Search for the scale of a shape of α (as of extrapolate), in place of one α."),
    ] = None,
    by_module: Annotated[
        bool, typer.Option("--by-module", help="Try multiples of α for attention, MLPs and the rest, too.")
    ] = False,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark that a rule verifies; a candidate that loses more on it than these points is "
            "out, repeatable: ifeval (5 points), gsm8k=3. Its first 100 questions are asked."
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Of an adapter: serve whole models, not the adapter at other scales."),
    ] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="End with what was found by then; the same command goes on.")
    ] = None,
    store: Annotated[str, typer.Option(envvar="EXPO_STORE", help="Where artefacts go.")] = "expo-store",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """Finds the α of a pair on prompts that no benchmark asks, or says that none helps."""
    from pydantic import ValidationError

    from tasks.core.families import find_family

    if judge_second and judge is None:
        raise InputError("search: --judge-second needs a judge: --judge-model or --judge-serve")
    entry = find_family(family) if family else None
    extras.require_for_run(modules=entry.provider_needs if entry else (), engine=True)
    show_progress()
    from flows.parameters import FamilyName
    from flows.search import expo_search
    from tasks.core.worker import FUNCTIONS, allow
    from tasks.runtime.local_server import ensure_server
    from tasks.search.candidates import Grid
    from tasks.search.racing import RaceSettings
    from tasks.search.rails import RailLimits
    from tasks.search.search_config import SearchConfig

    for name in (function, second_function):
        if name:
            allow(FUNCTIONS, name)
    try:
        config = SearchConfig(
            objective=first_objective(None if judge_second else judge, reward_model, function, entry),
            second=given_objective(judge if judge_second else None, second_reward_model, second_function),
            race=RaceSettings(
                grid=Grid(lowest=lowest, highest=highest, count=count, limit=limit, negative=negative),
                first_round=first_round,
                limits=RailLimits(guards=_margins(guard or ())),
            ),
            preset=module_preset,
            by_module=by_module,
            merge=merge,
            choosing=choosing,
            confirming=confirming,
            max_minutes=max_minutes,
        )
    except ValidationError as error:
        raise InputError("; ".join(f"search: {fault['msg']}" for fault in error.errors())) from None
    named = FamilyName(entry.name) if entry else None
    path = str(prompts.resolve()) if prompts else None
    hide_own_tracebacks()
    ensure_server()
    result: SearchResult = expo_search(config, named, aligned, sft, path, max_tokens, store)
    if as_json:
        print(result.model_dump_json(indent=1))
    else:
        show_search(result, family)


def _margins(guards: Sequence[str]) -> dict[str, float]:
    """Points that a candidate may lose, by the guard's name."""
    from tasks.comparison.guards import parse_guards

    parsed = parse_guards(guards)
    if sampled := next((guard for guard in parsed if guard.sample is not None), None):
        raise InputError(f"--guard {sampled.uri}: a search asks the first questions; leave the number out")
    return {guard.name: RAIL_MARGIN if guard.margin is None else guard.margin for guard in parsed}


def show_search(result: "SearchResult", name: str | None) -> None:
    """Prints the race, the choice, and the pair as an entry of a registry."""
    from rich.console import Console
    from rich.table import Table

    from tasks.search.result import describe
    from tasks.search.tables import HEADER, registry_entry, standing_rows

    table = Table(box=None, pad_edge=False)
    for title in HEADER:
        table.add_column(title, no_wrap=True)
    for row in standing_rows(result.standings):
        table.add_row(*row)
    Console().print(table)
    print(describe(result))
    if result.preset and result.alpha is not None:
        print(f"The model: expo extrapolate --alpha {result.alpha:g} --module-preset {result.preset} …")
    elif result.alpha is not None and name is None:
        print("\nAs an entry of a registry ($EXPO_FAMILIES):\n")
        print(registry_entry(result, "my-pair"))
