"""The options that make a judge, alike for every command that asks one or says what asking costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.benchmarks.judge_config import Judge

__all__ = [
    "BOTH_ORDERS",
    "CONCURRENCY",
    "MAX_COST",
    "MAX_REQUESTS",
    "MAX_TOKENS",
    "MAX_WAIT",
    "MIN_JUDGED",
    "MODEL",
    "PRICE",
    "REASONING_PARSER",
    "RETRIES",
    "SERVE",
    "TEMPERATURE",
    "TIMEOUT",
    "URL",
    "make_judge",
    "print_estimate",
]

PANEL = "The judge"
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
    int,
    typer.Option("--judge-max-tokens", min=1, help="Tokens of a rating's judgment.", rich_help_panel=PANEL),
]
TEMPERATURE = Annotated[
    float,
    typer.Option("--judge-temperature", min=0, help="Of a rating's judgment.", rich_help_panel=PANEL),
]
REASONING_PARSER = Annotated[
    str | None,
    typer.Option(
        "--judge-reasoning-parser",
        help="vLLM's parser for the thought of the model of --judge-serve, as deepseek_r1 or qwen3.",
        rich_help_panel=PANEL,
    ),
]


def make_judge(
    model: str | None,
    url: str | None = None,
    serve: str | None = None,
    *,
    reasoning_parser: str | None = None,
    both_orders: bool = False,
    price: tuple[float, float] | None = None,
    max_requests: int | None = None,
    max_cost: float | None = None,
    max_tokens: int = 2048,
    temperature: float = 0,
    **asking: Any,  # noqa: ANN401 - fields of Judge, which checks them
) -> "Judge | None":
    """The judge of these options, None where none is named; a served one is called after its checkpoint.

    asking  min_judged, timeout_s, retries, max_wait_s, max_concurrency: as `Judge` has them

    Raises:
        InputError: the options contradict each other.
    """
    if model is None and serve is None:
        if url is not None:
            raise InputError(f"--judge-url {url}: give --judge-model as well, its model's name there")
        return None
    from pydantic import ValidationError

    from tasks.benchmarks.judge_config import Judge, JudgeSampling, ServeConfig

    try:
        return Judge(
            model=model or Path(str(serve)).name,
            base_url=url,
            serve=ServeConfig(checkpoint=serve, reasoning_parser=reasoning_parser) if serve else None,
            both_orders=both_orders,
            dollars_per_million=price,
            max_requests=max_requests,
            max_cost=max_cost,
            grading_sampling=JudgeSampling(max_tokens=max_tokens, temperature=_number(temperature)),
            **asking,
        )
    except ValidationError as error:
        raise InputError("; ".join(f"the judge: {one['msg']}" for one in error.errors())) from None


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
        usage = benchmark.expected_usage(judge)
        known = describe_usage(judge, usage.times(2)) if usage else "not known before `expo data fetch`"
        print(f"  {benchmark.measure.title}: {known}")
