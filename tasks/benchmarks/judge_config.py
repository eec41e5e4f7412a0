"""The judge: the model that compares answers, behind any OpenAI-compatible endpoint."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from tasks.benchmarks.reasoning import reasoning_parser
from tasks.core.errors import InputError
from tasks.core.values import Value
from tasks.core.worker import OPENAI_URL, key_variable
from tasks.generation.settings import ADDRESS

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = [
    "GRADING_SAMPLING",
    "PAIRWISE_SAMPLING",
    "PUBLISHED_ANNOTATOR",
    "RULE",
    "VERDICT_SAMPLING",
    "Judge",
    "JudgeSampling",
    "ServeConfig",
    "api_key",
    "open_client",
    "scrubbed",
]

RULE = "rule:"  # how the address of a rule begins, which judges without any endpoint


Price = Annotated[float, Field(ge=0)]


class JudgeSampling(Value):
    """How the tokens of a judgment are drawn. What is None is not sent: a model may refuse it.

    max_tokens        of the reply, with its thought where a model thinks first
    temperature       None for models that take none
    top_p             the share of probability that tokens are drawn from
    top_logprobs      the likeliest tokens whose log-probabilities are wanted, None for none
    reasoning_effort  of models that take one: "low", "medium", "high"
    limit_name        the name under which the API takes `max_tokens`
    """

    max_tokens: int = Field(gt=0)
    temperature: int | float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_logprobs: int | None = Field(default=None, gt=0)
    reasoning_effort: str | None = Field(default=None, exclude_if=lambda effort: effort is None)
    limit_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", exclude_if=lambda name: name == "max_tokens"
    )

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `chat.completions.create`."""
        arguments = self.model_dump(exclude_none=True, exclude={"max_tokens", "limit_name"})
        limit = {self.limit_name: self.max_tokens}
        return limit | arguments | ({"logprobs": True} if self.top_logprobs else {})


# as alpaca_eval's weighted_alpaca_eval_gpt4_turbo asks, as FastChat's single-answer grading does, and as
# Arena-Hard v2's configuration for gpt-4.1 does
PAIRWISE_SAMPLING = JudgeSampling(max_tokens=1, temperature=1, top_p=1.0, top_logprobs=5)
GRADING_SAMPLING = JudgeSampling(max_tokens=2048, temperature=0)
VERDICT_SAMPLING = JudgeSampling(max_tokens=16000, temperature=0)
PUBLISHED_ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"  # of AlpacaEval 2.0


class ServeConfig(Value):
    """A judge's checkpoint that the run serves itself, with vLLM, for as long as it judges.

    checkpoint              a folder, a hub id or s3://…
    tensor_parallel_size    GPUs that share the model
    max_model_len           tokens of question and judgment together; None: the checkpoint's own
    gpu_memory_utilization  share of a GPU's memory that the server may take
    trust_remote_code       whether Python files of the checkpoint may run
    reasoning_parser        vLLM's, for a model that thinks first: its thought is then no part of the reply;
                            None: as the checkpoint tells (see `tasks.benchmarks.reasoning`); "none": none
    """

    checkpoint: str = Field(min_length=1)
    tensor_parallel_size: int = Field(default=1, gt=0)
    max_model_len: int | None = Field(default=None, gt=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    trust_remote_code: bool = False
    reasoning_parser: str | None = None


class Judge(Value):
    """A judge and how it is asked. No two judges' figures are ever mixed.

    model            its name, as the endpoint knows it; it stands on every figure
    base_url         the endpoint ("http://127.0.0.1:8000/v1"), None for OpenAI's
    serve            a checkpoint to serve on this machine, in place of an endpoint
    api_key_env      the environment variable that holds the key; an address other than OpenAI's gets one
                     only where the worker says so: see `tasks.core.worker`
    seed             decides, with the instruction, which output is shown first (0: as published)
    both_orders      each comparison in both orders, and the mean of the two: twice the requests
    annotator        alpaca_eval's annotator whose prompt and parser AlpacaEval's comparisons have
    pairwise_sampling  of comparisons (AlpacaEval's, as published); "comparing" in what is stored
    grading_sampling   of ratings (MT-Bench's, as published); "rating" in what is stored
    verdict_sampling   of written verdicts on two answers (Arena-Hard's, as published)
    max_concurrency  requests in flight, of all judgings of a process together
    timeout_s        seconds that one request may take, from its first byte to its last
    max_wait_s       seconds that a busy judge may ask to wait (Retry-After) before another try
    retries          further tries of a request that met 429, 5xx or a dropped connection
    rounds           how often an item that got no usable judgment is asked again, the first included
    min_judged       the share of judged items below which there is no figure at all

    dollars_per_million  US dollars for a million prompt tokens and completion tokens, if they cost
    price_date           when they did, of prices that a preset brings
    max_requests, max_cost  requests and US dollars that a run may use in all; it stops before that
    """

    model_config = ConfigDict(serialize_by_alias=True, hide_input_in_errors=True)

    model: str = Field(min_length=1)
    base_url: str | None = None
    serve: ServeConfig | None = None
    api_key_env: str = "OPENAI_API_KEY"
    seed: int = 0
    both_orders: bool = False
    pairwise_sampling: JudgeSampling = Field(
        default=PAIRWISE_SAMPLING,
        validation_alias=AliasChoices("comparing", "pairwise_sampling"),
        serialization_alias="comparing",
    )
    grading_sampling: JudgeSampling = Field(
        default=GRADING_SAMPLING,
        validation_alias=AliasChoices("rating", "grading_sampling"),
        serialization_alias="rating",
    )
    annotator: str = Field(
        default=PUBLISHED_ANNOTATOR, exclude_if=lambda annotator: annotator == PUBLISHED_ANNOTATOR
    )
    verdict_sampling: JudgeSampling = Field(
        default=VERDICT_SAMPLING, exclude_if=lambda sampling: sampling == VERDICT_SAMPLING
    )
    max_concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    timeout_s: float = Field(default=120, gt=0)
    retries: int = Field(default=6, ge=0)
    rounds: int = Field(default=3, ge=1)
    max_wait_s: float = Field(default=600, ge=0)
    min_judged: float = Field(default=0.95, gt=0, le=1)
    dollars_per_million: tuple[Price, Price] | None = None
    price_date: str = Field(default="", exclude_if=lambda date: not date)
    max_requests: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_cost is not None and self.dollars_per_million is None:
            raise ValueError("max_cost needs dollars_per_million: the prices of the judge's tokens")
        if self.base_url and "://" in self.base_url and not re.match(ADDRESS, self.base_url):
            raise ValueError(
                "a judge's address is http://host:port/v1, without user, password or key in it: "
                "EXPO_ENDPOINT_KEYS names the variable of the environment that holds its key"
            )
        if self.serve is not None and self.base_url is not None:
            raise ValueError("a judge has an endpoint (base_url) or is served by the run (serve), not both")
        if self.annotator == PUBLISHED_ANNOTATOR and self.pairwise_sampling.top_logprobs is None:
            raise ValueError(
                "pairwise_sampling needs top_logprobs: this annotator reads a preference from them; for a "
                "judge without log-probabilities take annotator alpaca_eval_gpt4, which reads a ranking"
            )
        return self

    @property
    def url(self) -> str:
        """The endpoint's base URL, OpenAI's included; before it is served, what is to be served."""
        if self.serve is not None and self.base_url is None:
            return f"vLLM of {self.serve.checkpoint}"
        return self.base_url or OPENAI_URL

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}

    @property
    def is_rule(self) -> bool:
        """Whether a benchmark's own rule judges, and nobody is asked."""
        return self.url.startswith(RULE)

    def identity(self) -> dict[str, str]:
        """Who judges. An endpoint on this machine counts without its port, which is another in each run.

        Raises:
            InputError, PermanentError, RetryableError: the checkpoint to serve cannot be opened.
        """
        return {"model": self.model, "where": self._where()}

    def _where(self) -> str:
        if self.serve is None:
            return "this machine" if self.is_local else self.url
        from tasks.stores.open import open_source

        source = open_source(self.serve.checkpoint)
        parser = reasoning_parser(self.serve.reasoning_parser, source)
        return f"vLLM of {source.checkpoint.commit}" + (f" with {parser}" if parser else "")


def api_key(judge: Judge) -> str:
    """The key, from the environment of this process.

    Raises:
        InputError: the endpoint's variable is not set, or the judge names another variable.
    """
    variable = key_variable(judge.url, judge.api_key_env)
    key = os.environ.get(variable) if variable else "none"
    if not key or key != key.strip() or not key.isascii() or not key.isprintable():
        raise InputError(
            f"judge {judge.model}: set the environment variable {variable} to its API key, printable ASCII"
        )
    return key


@contextmanager
def open_client(judge: Judge) -> "Iterator[OpenAI]":
    """An OpenAI client, to be shared by threads. It does not retry: whoever asks does."""
    import httpx2  # openai's own
    import openai

    # as many connections stay open as are used; a proxy in the environment is no way to this machine
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=judge.max_concurrency)
    http = openai.DefaultHttpxClient(trust_env=not judge.is_local, limits=limits)
    with openai.OpenAI(
        base_url=judge.url,
        api_key=api_key(judge),
        max_retries=0,
        timeout=judge.timeout_s,
        http_client=http,
    ) as client:
        yield client


def scrubbed(text: str, judge: Judge) -> str:
    """A server's message without the key, which some servers repeat, and of bounded length."""
    variable = key_variable(judge.url)
    key = os.environ.get(variable) if variable else None
    return (text.replace(key, "***") if key else text)[:500]
