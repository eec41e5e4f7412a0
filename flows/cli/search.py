"""The command `expo search`: finds the α of a pair of checkpoints in one engine, or none."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import extras
from flows.cli.judge_options import OF_COMPARISONS, make_judge
from flows.cli.option_groups import with_options
from flows.cli.progress import hide_own_tracebacks, show_progress
from tasks.benchmarks.table import DEFAULT
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.core.families import Family
    from tasks.search.objectives import ObjectiveConfig
    from tasks.search.result import SearchResult

__all__ = ["search", "show_search"]

RACE = "The race"
FUNCTION = Annotated[
    str | None,
    typer.Option(help="package.module:function that takes prompts and answers and scores each answer."),
]


@with_options("judge", make_judge, only=OF_COMPARISONS)
def search(
    family: Annotated[str | None, typer.Argument(help="A family, or give --sft and --aligned.")] = None,
    sft: Annotated[str | None, typer.Option(help="The SFT checkpoint θ_0.")] = None,
    aligned: Annotated[str | None, typer.Option(help="The aligned checkpoint θ_1.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Held-out prompts, JSON lines or a list; those of evaluation sets are refused."),
    ] = None,
    judge: "Judge | None" = None,
    function: FUNCTION = None,
    second_function: Annotated[
        str | None, typer.Option(help="Scores the choice as well, and decides nothing.")
    ] = None,
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
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer.")] = None,
    store: Annotated[str, typer.Option(envvar="EXPO_STORE", help="Where artefacts go.")] = "expo-store",
) -> None:
    """Finds the α of a pair on prompts that no benchmark asks, or says that none helps."""
    from pydantic import ValidationError

    from tasks.core.families import find_family

    entry = find_family(family) if family else None
    extras.require_for_run(modules=entry.provider_needs if entry else (), engine=True)
    show_progress()
    from flows.parameters import FamilyName
    from flows.search import expo_search
    from tasks.core.worker import FUNCTIONS, allow
    from tasks.runtime.local_server import ensure_server
    from tasks.search.candidates import Grid
    from tasks.search.objectives import ObjectiveConfig
    from tasks.search.racing import RaceSettings
    from tasks.search.run import SearchConfig

    for name in (function, second_function):
        if name:
            allow(FUNCTIONS, name)
    try:
        config = SearchConfig(
            objective=_objective(judge, function, entry),
            second=ObjectiveConfig(function=second_function) if second_function else None,
            race=RaceSettings(
                grid=Grid(lowest=lowest, highest=highest, count=count, limit=limit, negative=negative),
                first_round=first_round,
            ),
            choosing=choosing,
            confirming=confirming,
        )
    except ValidationError as error:
        raise InputError("; ".join(f"search: {fault['msg']}" for fault in error.errors())) from None
    named = FamilyName(entry.name) if entry else None
    path = str(prompts.resolve()) if prompts else None
    hide_own_tracebacks()
    ensure_server()
    result: SearchResult = expo_search(config, named, aligned, sft, path, max_tokens, store)
    show_search(result, family)


def _objective(judge: "Judge | None", function: str | None, family: "Family | None") -> "ObjectiveConfig":
    """A judge or a function decides; where neither is named, the family's own judge."""
    from tasks.comparison.judges import find_judges
    from tasks.search.objectives import ObjectiveConfig

    if judge is not None and function is not None:
        raise InputError(
            "search: a judge or --function decides, not both; the other can be --second-function"
        )
    if judge is not None:
        return ObjectiveConfig(judge=judge)
    if function is not None:
        return ObjectiveConfig(function=function)
    if family is not None and family.judge:
        return ObjectiveConfig(judge=find_judges(family, None, (DEFAULT,))[DEFAULT])
    raise InputError("search: nothing scores the answers; give --judge-model, --judge-serve or --function")


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
    if result.alpha is not None and name is None:
        print("\nAs an entry of a registry ($EXPO_FAMILIES):\n")
        print(registry_entry(result, "my-pair"))
