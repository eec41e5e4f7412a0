"""The command `expo check`. It loads neither Prefect nor vLLM."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.judge_options import make_judge, print_estimate
from flows.cli.option_groups import with_options
from flows.cli.weight_options import (
    ALIGNED,
    ALLOW,
    ALPHA,
    DEQUANTIZE,
    DTYPE,
    EXTRA,
    MERGE,
    SFT,
    VOCABULARY,
)
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge
    from tasks.core.families import Family

__all__ = ["check"]


@with_options(
    "judge", make_judge, only=("judge_model", "judge_preset", "judge_serve", "both_orders", "judge_price")
)
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the pair's figures as JSON in place of a table.")
    ] = False,
) -> None:
    """Says whether two checkpoints fit and what the extrapolation takes, from headers alone.

    The aligned side may be a LoRA adapter; without --sft the base model that it names is the SFT side.
    With a judge named, also what judging both arms takes.
    """
    from flows.cli.tables import plan_figures, plan_table
    from flows.library.pair_models import check as check_pair
    from tasks.weights.pair_settings import PairSettings

    if as_json and judge is not None:
        raise InputError("check: --json has the pair's figures alone; leave the judge out")
    if family is not None and (sft or aligned):
        raise InputError("check: give a family's name, or --sft and --aligned, not both")
    entry = _find(family) if family is not None else None
    aligned, sft = entry.checkpoints if entry else (aligned, sft)
    if aligned is None:
        raise InputError("check: give a family's name (see `expo families`), or both --sft and --aligned")
    usual = entry.alpha if entry else 0.5
    settings = PairSettings(
        dtype=dtype,
        vocabulary=vocabulary,
        extra=extra,
        allow=(*(allow or ()), *(entry.allow if entry else ())),
        dequantize=dequantize,
        merge=merge,
    )
    plan = check_pair(aligned, sft, usual if alpha is None else alpha, settings)
    if as_json:
        print(json.dumps(plan_figures(plan), indent=1, ensure_ascii=False))
        return
    plan_table(plan)
    if judge is not None:
        print_estimate(judge)


def _find(name: str) -> "Family":
    from tasks.core.families import find_family

    return find_family(name)
