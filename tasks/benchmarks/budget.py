"""What a judging costs: estimated before it starts, counted while it runs, stopped before it is too much."""

import math
from collections.abc import Sequence
from typing import Any

from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import OverBudgetError
from tasks.core.values import Value

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "Usage",
    "budget_share",
    "check_budget",
    "describe_usage",
    "dollars",
    "estimate",
    "split_budget",
]

CHARACTERS_PER_TOKEN = 4.0  # AlpacaEval's prompts had 4.8 for gpt-4-1106-preview; code has fewer


class Usage(Value):
    """Requests that were answered, and the tokens that the endpoint counts for them."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )

    def times(self, count: int) -> "Usage":
        """The same usage `count` times."""
        return Usage(
            requests=count * self.requests,
            prompt_tokens=count * self.prompt_tokens,
            completion_tokens=count * self.completion_tokens,
        )


def estimate(requests: Sequence[dict[str, Any]]) -> Usage:
    """What requests will use, from their lengths; the answers are taken to be as long as they may be."""
    characters = sum(len(message["content"]) for request in requests for message in request["messages"])
    return Usage(
        requests=len(requests),
        prompt_tokens=math.ceil(characters / CHARACTERS_PER_TOKEN),
        completion_tokens=sum(
            request.get("max_completion_tokens") or request["max_tokens"] for request in requests
        ),
    )


def dollars(judge: Judge, usage: Usage) -> float | None:
    """The price in US dollars, None where the judge's prices are not given."""
    if judge.dollars_per_million is None:
        return None
    prompt, completion = judge.dollars_per_million
    return (prompt * usage.prompt_tokens + completion * usage.completion_tokens) / 1e6


def check_budget(judge: Judge, spent: Usage, planned: Usage) -> None:
    """Refuses what would pass the judge's limits, before any of it is asked.

    Raises:
        OverBudgetError: `spent` and `planned` together are more than `max_requests` or `max_cost`.
    """
    total = spent + planned
    if judge.max_requests is not None and total.requests > judge.max_requests:
        raise OverBudgetError(
            f"judge {judge.model}: {planned.requests} more requests after {spent.requests} pass the limit of "
            f"{judge.max_requests}; raise max_requests or judge fewer answers"
        )
    price = dollars(judge, total)
    if judge.max_cost is not None and price is not None and price > judge.max_cost:
        raise OverBudgetError(
            f"judge {judge.model}: about ${price:.2f} for {total.requests} requests in all passes the limit "
            f"of ${judge.max_cost:.2f}; raise max_cost or judge fewer answers"
        )


def budget_share(judge: Judge, part: Usage, whole: Usage) -> Judge:
    """The judge for a part of a run, with its part of the run's limits: all parts together keep to them."""
    limits: dict[str, float | int] = {}
    if judge.max_requests is not None:
        limits["max_requests"] = judge.max_requests * part.requests // max(whole.requests, 1)
    if judge.max_cost is not None and (price := dollars(judge, whole)):
        limits["max_cost"] = judge.max_cost * (dollars(judge, part) or 0) / price
    return judge.model_copy(update=limits)


def split_budget(judge: Judge, families: int) -> Judge:
    """The judge for one of so many families, each with the same part of the run's limits."""
    least = Usage(requests=1, prompt_tokens=1, completion_tokens=1)
    return budget_share(judge, least, least.times(families))


def describe_usage(judge: Judge, usage: Usage) -> str:
    """An estimate in words: "1,610 requests, about 2.1 million tokens, about $23.40 (limit $30.00)"."""
    requests = f"{usage.requests:,} requests"
    if judge.max_requests is not None:
        requests += f" (limit {judge.max_requests:,})"
    text = f"{requests}, about {(usage.prompt_tokens + usage.completion_tokens) / 1e6:.2g} million tokens"
    price = dollars(judge, usage)
    if price is not None:
        text += f", about ${price:.2f}" + (f" at prices of {judge.price_date}" if judge.price_date else "")
    if judge.max_cost is not None:
        text += f" (limit ${judge.max_cost:.2f})"
    return text
