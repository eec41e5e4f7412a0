"""The options that make a judge, alike for every command that asks one or says what asking costs."""

from inspect import signature
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.core.errors import InputError
from tasks.core.worker import OPENAI_URL

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge

__all__ = ["OF_COMPARISONS", "make_judge", "print_estimate"]

PANEL = "The judge"
PRESET = Annotated[
    str | None,
    typer.Option(
        "--judge-preset",
        metavar="NAME",
        help="A judge by name: gpt-4.1, o4-mini, qwen3-32b, an annotator of alpaca_eval (docs/judges.md).",
        rich_help_panel=PANEL,
    ),
]
MODEL = Annotated[str | None, typer.Option("--judge-model", help="Its model's name.", rich_help_panel=PANEL)]
URL = Annotated[
    str | None,
    typer.Option("--judge-url", help="Its OpenAI-compatible endpoint.", rich_help_panel=PANEL),
]
SERVE = Annotated[
    str | None,
    typer.Option(
        "--judge-serve",
        help="A checkpoint (folder, hub id, s3://…) that vLLM serves for as long as the run judges.",
        rich_help_panel=PANEL,
    ),
]
BOTH_ORDERS = Annotated[
    bool,
    typer.Option(
        "--both-orders",
        help="Compare in both orders and take the mean: twice the requests.",
        rich_help_panel=PANEL,
    ),
]
PRICE = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--judge-price",
        metavar="IN OUT",
        help="Dollars for a million prompt and completion tokens.",
        rich_help_panel=PANEL,
    ),
]
MAX_REQUESTS = Annotated[
    int | None,
    typer.Option("--max-judge-requests", help="Stop before more are asked.", rich_help_panel=PANEL),
]
MAX_COST = Annotated[
    float | None,
    typer.Option("--max-judge-cost", help="Stop before it costs more dollars.", rich_help_panel=PANEL),
]
MIN_JUDGED = Annotated[
    float,
    typer.Option(
        "--min-judged",
        min=0.01,
        max=1,
        help="The share of judged items below which there is no figure.",
        rich_help_panel=PANEL,
    ),
]
TIMEOUT = Annotated[
    float, typer.Option("--judge-timeout", help="Seconds for one request.", rich_help_panel=PANEL)
]
RETRIES = Annotated[
    int, typer.Option("--judge-retries", min=0, help="Further tries while busy.", rich_help_panel=PANEL)
]
MAX_WAIT = Annotated[
    float,
    typer.Option(
        "--judge-max-wait", min=0, help="Seconds that a busy judge may ask to wait.", rich_help_panel=PANEL
    ),
]
CONCURRENCY = Annotated[
    int,
    typer.Option("--judge-concurrency", min=1, max=256, help="Requests in flight.", rich_help_panel=PANEL),
]
MAX_TOKENS = Annotated[
    int | None,
    typer.Option("--judge-max-tokens", min=1, help="Tokens of a written judgment.", rich_help_panel=PANEL),
]
TEMPERATURE = Annotated[
    float | None,
    typer.Option("--judge-temperature", min=0, help="Of a written judgment.", rich_help_panel=PANEL),
]
ANNOTATOR = Annotated[
    str | None,
    typer.Option(
        "--judge-annotator",
        help="alpaca_eval's annotator that compares, as alpaca_eval_gpt4 (written rankings).",
        rich_help_panel=PANEL,
    ),
]
THINKS = Annotated[
    bool,
    typer.Option(
        "--judge-thinks",
        help="It thinks first, as o4-mini: no temperature and no log-probabilities are asked for.",
        rich_help_panel=PANEL,
    ),
]
REASONING_PARSER = Annotated[
    str | None,
    typer.Option(
        "--judge-reasoning-parser",
        help="vLLM's parser for the thought of --judge-serve's model; by default as its checkpoint tells.",
        rich_help_panel=PANEL,
    ),
]


def make_judge(
    judge_model: MODEL = None,
    judge_preset: PRESET = None,
    judge_url: URL = None,
    judge_serve: SERVE = None,
    both_orders: BOTH_ORDERS = False,
    judge_price: PRICE = None,
    max_judge_requests: MAX_REQUESTS = None,
    max_judge_cost: MAX_COST = None,
    min_judged: MIN_JUDGED = 0.95,
    judge_timeout: TIMEOUT = 120,
    judge_retries: RETRIES = 6,
    judge_max_wait: MAX_WAIT = 600,
    judge_concurrency: CONCURRENCY = 16,
    judge_annotator: ANNOTATOR = None,
    judge_thinks: THINKS = False,
    judge_max_tokens: MAX_TOKENS = None,
    judge_temperature: TEMPERATURE = None,
    judge_reasoning_parser: REASONING_PARSER = None,
) -> "Judge | None":
    """The judge of these options, None where none is named; a served one is called after its checkpoint.

    Raises:
        InputError: the options contradict each other, or there is no such preset.
    """
    if judge_model is None and judge_serve is None and judge_preset is None:
        if judge_url is not None:
            raise InputError(f"--judge-url {judge_url}: give --judge-model as well, its model's name there")
        return None
    from pydantic import ValidationError

    from tasks.benchmarks.judge_config import Judge, ServeConfig

    try:
        start = _start(judge_preset, judge_thinks, judge_annotator)
        served = judge_serve and ServeConfig(checkpoint=judge_serve)
        if judge_reasoning_parser is not None:
            serve = served or (None if judge_url else start.get("serve"))
            if serve is None:
                raise InputError(
                    f"--judge-reasoning-parser {judge_reasoning_parser}: the run serves no judge; give "
                    "--judge-serve, or a preset that is served"
                )
            served = serve.model_copy(update={"reasoning_parser": judge_reasoning_parser})
        settings: dict[str, Any] = {
            "both_orders": both_orders,
            "max_requests": max_judge_requests,
            "max_cost": max_judge_cost,
            "min_judged": min_judged,
            "timeout_s": judge_timeout,
            "retries": judge_retries,
            "max_wait_s": judge_max_wait,
            "max_concurrency": judge_concurrency,
        }
        named = judge_model or (Path(judge_serve).name if judge_serve else None)
        if named is not None:
            settings["model"] = named
        elsewhere = judge_url is not None and judge_url.rstrip("/") != OPENAI_URL
        if judge_price is not None or named is not None or elsewhere:
            # a preset's prices are those of its model at its maker's
            settings |= {"dollars_per_million": judge_price, "price_date": ""}
        if judge_url is not None or served:
            settings |= {"base_url": judge_url, "serve": served or None}
        return Judge.model_validate(start | settings | _written(start, judge_max_tokens, judge_temperature))
    except ValidationError as error:
        raise InputError("; ".join(f"the judge: {fault['msg']}" for fault in error.errors())) from None


def _start(preset: str | None, thinks: bool, annotator: str | None) -> dict[str, Any]:
    """The fields of a judge that the preset, the annotator and its thinking decide."""
    from tasks.benchmarks.alpaca_annotators import find_annotator
    from tasks.benchmarks.judge_presets import find_preset, thinking, thinking_presets

    found = {} if preset is None else _fields(find_preset(preset))
    preset_thinks = preset in thinking_presets()
    if thinks and not preset_thinks:  # such a preset knows how its model is asked
        found |= _fields(thinking("any"), "annotator", "pairwise_sampling", "grading_sampling")
        found |= _fields(thinking("any"), "verdict_sampling")
    if annotator is not None:
        found["annotator"] = annotator
        by = "--judge-thinks" if thinks else f"--judge-preset {preset}, which thinks"
        if (thinks or preset_thinks) and find_annotator(annotator).reads == "logprobs":
            raise InputError(
                f"{by}: annotator {annotator} reads log-probabilities; leave it out, or take alpaca_eval_gpt4"
            )
        if not thinks and not preset_thinks:
            found["pairwise_sampling"] = find_annotator(annotator).sampling
    return found


def _fields(judge: "Judge", *names: str) -> dict[str, Any]:
    """Those that are set, or these."""
    return {name: getattr(judge, name) for name in names or judge.model_fields_set}


def _written(start: dict[str, Any], max_tokens: int | None, temperature: float | None) -> dict[str, Any]:
    """The sampling of ratings and of verdicts on two answers, with what the options change in both."""
    from tasks.benchmarks.judge_config import GRADING_SAMPLING, VERDICT_SAMPLING

    changes: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    if temperature is not None:
        if not isfinite(temperature):
            raise InputError(f"--judge-temperature {temperature}: not a finite number")
        changes["temperature"] = _number(temperature)
    defaults = {"grading_sampling": GRADING_SAMPLING, "verdict_sampling": VERDICT_SAMPLING}
    return {name: start.get(name, sampling).model_copy(update=changes) for name, sampling in defaults.items()}


# without those that only ratings have
OF_COMPARISONS = tuple(
    name for name in signature(make_judge).parameters if name not in ("judge_max_tokens", "judge_temperature")
)


def _number(value: float) -> int | float:
    """0 rather than 0.0: fingerprints are of what is written."""
    return int(value) if value == int(value) else value


def print_estimate(judge: "Judge") -> None:
    """Prints what judging a family's two arms takes, by benchmark, from the data that is on this machine."""
    from tasks.benchmarks.budget import describe_usage
    from tasks.benchmarks.registry import benchmark_names, find_benchmark

    orders = "; comparing in both orders doubles the comparisons" if judge.both_orders else ""
    print(f"judging both arms by {judge.model}, if answers are as long as the references'{orders}:")
    for benchmark in map(find_benchmark, benchmark_names()):
        if benchmark.own_judge():  # a rule asks nobody
            continue
        usage = benchmark.expected_usage(judge)
        known = describe_usage(judge, usage.times(2)) if usage else "not known before `expo data fetch`"
        print(f"  {benchmark.measure.title}: {known}")
