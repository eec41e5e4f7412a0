"""Answers from an OpenAI-compatible endpoint in place of a local engine, with the same journal.

The server has the checkpoint's template and end tokens, or was started with the right ones: what
it shows the model cannot be seen from here, so a summary has no template digest and no token ids.

A request that the server refuses, or a reply of another form, is one item with an empty answer and
its cause, once the server has answered anything at all; before that it is about all of them.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import ExpoError, InputError, PermanentError, RetryableError
from tasks.core.values import fingerprint
from tasks.core.worker import key_variable
from tasks.generation.answer_journal import Answer, Header, most_complete
from tasks.generation.answers import require_answered
from tasks.generation.completions import read_body, retry_wait
from tasks.generation.endpoint_reply import ITEM_STATUSES, answer_of, no_answer, refusal
from tasks.generation.questions import read_questions
from tasks.generation.reply_journal import ReplyJournal
from tasks.generation.rounds import Rank, Request, answer_batches, answers_in_order
from tasks.generation.settings import Endpoint, GenerationJob
from tasks.stores.retry import is_retryable

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["answer_by_endpoint"]

AT_ONCE = 64  # requests in flight; a server of vLLM's batches them itself
TRIES = 6  # further ones, of what may pass
TIMEOUT = 600.0  # seconds that a whole request may take
LONGEST_ASKED_WAIT = 600.0  # seconds that a busy server may ask for (Retry-After)
TOLD_WAIT = 5.0  # seconds from which a wait is said
PATIENCE = 20  # first requests that all fail, after which none is answered
ROLES = ("user", "assistant")
TRANSIENT = ("bad_reply", "timeout", "dropped")


def answer_by_endpoint(job: GenerationJob, job_fingerprint: str, advance: Callable[[int], None]) -> None:
    """Answers what the journal of a job with an endpoint lacks.

    Raises:
        InputError: the endpoint's key is not set.
        PermanentError: the endpoint refuses the key, the model or all that is asked, or gives too
            few answers.
        RetryableError: it does not answer; what was answered is kept.
    """
    assert job.endpoint is not None
    folder = Path(job.output)
    questions = read_questions(Path(job.instructions), job.form)
    header = Header(job=job_fingerprint, engine=f"{job.endpoint.model} at {job.endpoint.base_url}")
    found = most_complete(folder, job_fingerprint)
    known = answers_in_order(found[1]) if found else []
    count = len(questions) * len(questions[0].turns)
    with _client(job.endpoint) as client, ReplyJournal(folder) as replies:
        backend = partial(_EndpointModel, client, job, replies, known, count)
        answer_batches(folder, header, questions, job.settings, Rank(), backend, advance)


class _EndpointModel:
    """A ChatBackend.

    known  the answers of earlier tries; count: how many are wanted in all
    """

    def __init__(
        self, client: "OpenAI", job: GenerationJob, replies: ReplyJournal, known: Sequence[Answer], count: int
    ) -> None:
        assert job.endpoint is not None
        self._client, self._job, self._replies = client, job, replies
        self._endpoint, self._settings, self._count = job.endpoint, job.settings, count
        self._failed = [answer for answer in known if answer.failure]
        self._has_answered = len(known) > len(self._failed)
        self._stop = threading.Event()

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None]) -> tuple[Answer, ...]:
        """The answers to one batch, asked for all at once.

        Raises:
            PermanentError: of what is in the journal too much has failed, or nothing was ever answered.
        """
        self._require_few_failures()
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="endpoint")
        answers: list[Answer] = []
        try:
            for answer in pool.map(self._ask, requests):
                answers.append(answer)
                self._has_answered = self._has_answered or not answer.failure
                on_progress(1)
                if len(answers) in (PATIENCE, len(requests)) and not self._has_answered:
                    raise self._nothing_answered(answers[0])
        finally:
            if len(answers) < len(requests):
                self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)  # what is in flight is paid for
        self._failed += [answer for answer in answers if answer.failure]
        return tuple(answers)

    def _ask(self, request: Request) -> Answer:
        arguments = self._arguments(request)
        key = fingerprint(arguments)
        if (kept := self._replies.get(key)) is not None and not (answer := answer_of(kept)).failure:
            return answer
        body = self._body(arguments)
        if isinstance(body, Answer):
            return body
        self._replies.add(key, body)
        return answer_of(body)

    def _body(self, arguments: dict[str, Any]) -> str | Answer:
        """The reply, or why there is none; asked again for what may pass."""
        import openai

        for attempt in range(TRIES + 1):
            try:
                return read_body(self._client, arguments, TIMEOUT)
            except (TimeoutError, openai.APITimeoutError):
                return no_answer("timeout", f"no whole answer within {TIMEOUT:g} s")
            except openai.APIError as error:
                wait = self._wait(error, attempt) if _may_pass(error) and attempt < TRIES else None
                if wait is None or self._stop.is_set():
                    return self._failure(error)
                self._stop.wait(wait)
        raise AssertionError("unreachable: the last attempt returns")

    def _wait(self, error: "APIError", attempt: int) -> float | None:
        seconds = retry_wait(error, attempt, LONGEST_ASKED_WAIT)
        if seconds is not None and seconds >= TOLD_WAIT:
            logging.getLogger("expo").info(f"{_where(self._endpoint)}: busy, waiting {seconds:.0f} s")
        return seconds

    def _failure(self, error: "APIError") -> Answer:
        """What a failed request means for its item; raises when it means the same for all.

        Without the openai error as cause: its text may hold the key.
        """
        import openai

        where, said = _where(self._endpoint), _short(error.message.replace(self._client.api_key, "***"))
        if isinstance(error, openai.APIStatusError):
            said = f"status {error.status_code}: {said}"
            if error.status_code in ITEM_STATUSES:
                return refusal(error, said)
            if is_retryable(error.status_code):
                raise RetryableError(f"{where}: {said}; run again, and only the rest is asked") from None
            raise _refused(where, said) from None
        # by name: the HTTP library behind the client is another one in each of its major versions
        if type(error.__cause__).__name__ == "ConnectError":
            raise RetryableError(f"{where}: cannot be reached ({said}); is the server up?") from None
        return no_answer("dropped", f"cannot be reached ({said}); is the server up?")

    def _nothing_answered(self, first: Answer) -> ExpoError:
        """The error of a server that has failed at every request so far."""
        where = _where(self._endpoint)
        if first.failure == "bad_reply":
            return RetryableError(
                f"{where}: what came is no chat completion (a proxy's page?): {_short(first.reply)!r}; "
                "try again"
            )
        if first.failure in TRANSIENT:
            return RetryableError(f"{where}: {first.reply}")
        return _refused(where, first.reply)

    def _require_few_failures(self) -> None:
        counts = Counter(answer.failure for answer in self._failed)
        example = self._failed[-1].reply if self._failed else ""
        job = self._job
        require_answered(job.generator, job.output, counts, self._count, job.max_failed, example)

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
    return OpenAI(base_url=endpoint.base_url, api_key=key, max_retries=0, timeout=TIMEOUT)


def _may_pass(error: "APIError") -> bool:
    import openai

    return not isinstance(error, openai.APIStatusError) or is_retryable(error.status_code)


def _refused(where: str, said: str) -> PermanentError:
    return PermanentError(
        f"{where}: {said}; check the endpoint's address, its key, the model's name there, and whether the "
        "server takes these sampling parameters (top_k is none of OpenAI's own)"
    )


def _where(endpoint: Endpoint) -> str:
    return f"endpoint {endpoint.base_url}, model {endpoint.model}"


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:300]}…"
