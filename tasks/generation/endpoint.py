"""Answers from an OpenAI-compatible endpoint in place of an engine of our own, with the same journal.

The server has the checkpoint's template and end tokens, or was started with the right ones: what
it shows the model cannot be seen from here, so a summary has no template digest and no token ids.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import InputError, PermanentError, RetryableError
from tasks.core.worker import key_variable
from tasks.generation.answer_journal import Answer, Header
from tasks.generation.answers import is_looping
from tasks.generation.questions import read_questions
from tasks.generation.rounds import Request, Share, answer_share
from tasks.generation.settings import Endpoint, GenerationJob, GenerationSettings
from tasks.stores.retry import is_retryable

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = ["answer_by_endpoint"]

AT_ONCE = 64  # requests in flight; a server of vLLM's batches them itself
TRIES = 6
ROLES = ("user", "assistant")


def answer_by_endpoint(job: GenerationJob, fingerprint: str, advance: Callable[[int], None]) -> None:
    """Answers what the journal of a job with an endpoint lacks.

    Raises:
        InputError: the endpoint's key is not set.
        PermanentError: the endpoint refuses the key, the model or the request.
        RetryableError: it does not answer; what was answered in whole batches is kept.
    """
    assert job.endpoint is not None
    folder, settings = Path(job.output), job.settings
    questions = read_questions(Path(job.instructions), job.form)
    header = Header(job=fingerprint, engine=f"{job.endpoint.model} at {job.endpoint.base_url}")
    with _client(job.endpoint) as client:
        backend = partial(_EndpointModel, client, job.endpoint, settings)
        answer_share(folder, header, questions, settings, Share(), backend, advance)


class _EndpointModel:
    """A ChatBackend."""

    def __init__(self, client: "OpenAI", endpoint: Endpoint, settings: GenerationSettings) -> None:
        self._client, self._endpoint, self._settings = client, endpoint, settings

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None]) -> tuple[Answer, ...]:
        """The answers to one batch, asked for all at once."""
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="endpoint")
        try:
            answers = []
            for answer in pool.map(self._ask, requests):
                answers.append(answer)
                on_progress(1)
            return tuple(answers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: Request) -> Answer:
        from openai.types.chat import ChatCompletion

        with _errors(self._endpoint, self._client.api_key):
            reply = self._client.chat.completions.create(**self._arguments(request))
        if not isinstance(reply, ChatCompletion) or not reply.choices:
            raise RetryableError(
                f"{_where(self._endpoint)}: what came is no chat completion (a proxy's page?); try again"
            )
        choice = reply.choices[0]
        text = choice.message.content or ""
        words = text.split()
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
        return Answer(
            output=text,
            tokens=reply.usage.completion_tokens if reply.usage else len(words),
            finish_reason=choice.finish_reason,
            looping=is_looping([numbers[word] for word in words]),
        )

    def _arguments(self, request: Request) -> dict[str, Any]:
        sampling = self._settings.sampling
        arguments: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [
                {"role": ROLES[number % 2], "content": said} for number, said in enumerate(request.chat)
            ],
            "temperature": request.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "seed": request.seed,
            "max_tokens": sampling.max_tokens,
        }
        if self._settings.stop_tokens:
            arguments["stop"] = [*self._settings.stop_tokens]
        # not OpenAI's own parameter, but that of every open server
        return arguments | ({"extra_body": {"top_k": sampling.top_k}} if sampling.top_k else {})


def _client(endpoint: Endpoint) -> "OpenAI":
    from openai import OpenAI

    variable = key_variable(endpoint.base_url, endpoint.api_key_env) if endpoint.api_key_env else None
    key = os.environ.get(variable) if variable else "none"
    if not key:
        raise InputError(
            f"{_where(endpoint)}: ${endpoint.api_key_env} is not set; set it in the worker's environment, "
            "or leave api_key_env out for a server that asks for none"
        )
    return OpenAI(base_url=endpoint.base_url, api_key=key, max_retries=TRIES, timeout=600)


@contextmanager
def _errors(endpoint: Endpoint, key: str) -> Iterator[None]:
    """The client's errors as ours, without the key. It has tried again already what may pass."""
    from openai import APIConnectionError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        message = (
            f"{_where(endpoint)}: status {error.status_code}: {_short(error.message.replace(key, '***'))}"
        )
        if is_retryable(error.status_code):
            raise RetryableError(f"{message}; run again, and only the rest is asked") from None
        raise PermanentError(
            f"{message}; check the endpoint's address, its key, the model's name there, and whether the "
            "server takes these sampling parameters (top_k is none of OpenAI's own)"
        ) from None
    except ValueError:
        raise RetryableError(f"{_where(endpoint)}: what came is no JSON; try again") from None
    except APIConnectionError as error:
        raise RetryableError(f"{_where(endpoint)}: cannot be reached ({error}); is the server up?") from None


def _where(endpoint: Endpoint) -> str:
    return f"endpoint {endpoint.base_url}, model {endpoint.model}"


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:300]}…"
