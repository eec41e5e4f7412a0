"""Asking a judge many questions, so that no answer that was paid for is lost or paid for twice."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tasks.benchmarks.budget import check_budget, estimate
from tasks.benchmarks.judge_config import Judge, open_client, scrubbed
from tasks.benchmarks.judge_journal import Choice, Journal
from tasks.benchmarks.replies import read_reply, text_of
from tasks.core.errors import ExpoError, PermanentError, RetryableError
from tasks.core.values import fingerprint

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["Failure", "Request", "ask_all", "check_share"]

Request = dict[str, Any]

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds, between two attempts that the judge says nothing about
TOLD_WAIT = 5.0  # seconds from which a wait is said
PATIENCE = 20  # failures in a row after which the judge is asked no more (or more, see `ask_all`)


class Failure(NamedTuple):
    """Why an item has no judgment.

    busy      the same request can succeed later
    unusable  it was answered, but not with a judgment; asked again, it may be
    refused   the judge does not take this request, now or later
    """

    kind: Literal["busy", "unusable", "refused"]
    reason: str


class _Asking(NamedTuple):
    """What every request of a judging has in common."""

    client: "OpenAI"
    judge: Judge
    journal: Journal
    is_usable: Callable[[Choice], bool]
    says_something: Callable[[Choice], bool]
    patience: int
    stop: threading.Event

    def doubt(self, choice: Choice) -> Failure | None:
        """Why a usable choice is no judgment all the same, None if it is one."""
        if self.says_something(choice):
            return None
        return Failure("unusable", f"no judgment in the answer {text_of(choice)[:40]!r}")

    def fail(self, kind: type[ExpoError], reason: str) -> ExpoError:
        """The error that ends the judging; whoever has not asked yet asks no more."""
        self.stop.set()
        return kind(f"judge {self.judge.model} at {self.judge.url}: {scrubbed(reason, self.judge)}")


def ask_all(
    requests: Sequence[Request],
    judge: Judge,
    journal: Journal,
    *,
    is_usable: Callable[[Choice], bool],
    says_something: Callable[[Choice], bool] = lambda _: True,
    advance: Callable[[int], None],
) -> list[Choice | Failure]:
    """One answer, or the reason why there is none, for each request, in their order.

    Each request holds the keyword arguments of `chat.completions.create`. `advance` gets the
    number of items that are done. Answers that are not usable are kept in the journal, and
    asked for again in the judge's further rounds. Usable ones that say nothing (`says_something`)
    are counted as answers, but many of them in a row end the judging as failures do.

    Raises:
        PermanentError: the judge refuses the key, the model or all that is asked, or its budget
            does not allow it.
        RetryableError: the endpoint cannot be reached, or keeps failing.
    """
    keys = [fingerprint(request) for request in requests]
    by_key = dict(zip(keys, requests, strict=True))
    answers: dict[str, Choice | Failure] = {
        key: choice for key in by_key if (choice := journal.get(key)) is not None and is_usable(choice)
    }
    advance(len(answers))
    if len(answers) < len(by_key):
        # so many failures in a row that too few items would be left for a figure
        patience = max(PATIENCE, 1 + int((1 - judge.min_judged) * len(requests)))
        with open_client(judge) as client:
            asking = _Asking(client, judge, journal, is_usable, says_something, patience, threading.Event())
            _ask_missing(asking, by_key, answers, advance)
    answered = sum(not isinstance(answer, Failure) for answer in answers.values())
    advance(len(requests) - answered)  # what was given up, and questions that were in it twice
    return [answers[key] for key in keys]


def check_share(failures: Sequence[Failure], n_failed: int, n_total: int, judge: Judge) -> None:
    """Refuses a result of which too little was judged.

    failures  of requests; n_failed: items that have no judgment for it

    Raises:
        RetryableError, PermanentError: fewer than `judge.min_judged` of `n_total` items were
            judged; retryable when the judge was too busy for one of them.
    """
    if n_total - n_failed >= judge.min_judged * n_total:
        return
    worst = next((failure for failure in failures if failure.kind == "busy"), failures[0])
    message = (
        f"judge {judge.model} at {judge.url}: {n_total - n_failed} of {n_total} items were judged, and "
        f"a figure needs {judge.min_judged:.0%} of them; {worst.reason}"
    )
    if worst.kind == "busy":
        raise RetryableError(f"{message}. Run again: only the rest is asked")
    raise PermanentError(f"{message}. Choose another judge, or a lower share (--min-judged)")


def _ask_missing(
    asking: _Asking,
    requests: dict[str, Request],
    answers: dict[str, Choice | Failure],
    advance: Callable[[int], None],
) -> None:
    """Adds to the answers, round by round, until nothing is left that is worth another request."""
    for _ in range(asking.judge.rounds):
        missing = {key: one for key, one in requests.items() if _is_open(answers.get(key))}
        if not missing:
            return
        check_budget(asking.judge, asking.journal.usage, estimate(list(missing.values())))
        for key, answer in _one_round(asking, missing):
            answers[key] = answer
            advance(0 if isinstance(answer, Failure) else 1)


def _is_open(answer: Choice | Failure | None) -> bool:
    return answer is None or (isinstance(answer, Failure) and answer.kind != "refused")


def _one_round(asking: _Asking, requests: dict[str, Request]) -> Iterator[tuple[str, Choice | Failure]]:
    """Asks every request once, in threads, and gives the answers as they come.

    It ends when so many in a row are no judgments that too few would be left for a figure.
    """
    failed_in_a_row = 0
    pool = ThreadPoolExecutor(asking.judge.max_concurrency, thread_name_prefix="judge")
    try:
        asked: dict[Future[Choice | Failure], str] = {
            pool.submit(_ask, asking, key, request): key for key, request in requests.items()
        }
        for future in as_completed(asked):
            answer = future.result()
            failure = answer if isinstance(answer, Failure) else asking.doubt(answer)
            failed_in_a_row = failed_in_a_row + 1 if failure else 0
            if failure and failed_in_a_row == asking.patience:
                kind = RetryableError if failure.kind == "busy" else PermanentError
                raise asking.fail(kind, f"{failed_in_a_row} requests in a row failed; {failure.reason}")
            yield asked[future], answer
    finally:
        # what is in flight is paid for: wait until it is in the journal
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(asking: _Asking, key: str, request: Request) -> Choice | Failure:
    """Asks, again for what may pass, and keeps whatever was answered."""
    import openai

    for attempt in range(asking.judge.retries + 1):
        if asking.stop.is_set():
            return Failure("busy", "not asked: the judging ended before")
        try:
            return _kept(asking, key, request, _body(asking, request))
        except openai.APIError as error:
            failure = _failure(asking, error)
            waits = failure.kind == "busy" and attempt < asking.judge.retries
            if not waits or not _wait(asking, attempt, error):
                return failure
        except TimeoutError:
            return Failure("busy", f"no answer within {asking.judge.timeout_s:g} s")
    raise AssertionError("unreachable: the last attempt returns")


def _body(asking: _Asking, request: Request) -> str:
    """The body of the answer. The limit of time is one of the whole request, however slowly it comes."""
    import httpx
    import openai

    end = time.monotonic() + asking.judge.timeout_s
    parts = []
    with asking.client.chat.completions.with_streaming_response.create(**request) as answer:
        try:
            for part in answer.iter_bytes():
                parts.append(part)
                if time.monotonic() > end:
                    raise TimeoutError
        except httpx.HTTPError as error:
            raise openai.APIConnectionError(request=answer.http_request) from error
    return b"".join(parts).decode("utf-8", errors="replace")


def _kept(asking: _Asking, key: str, request: Request, body: str) -> Choice | Failure:
    """What was answered, in the journal before anything is made of it: it was paid for."""
    choice, usage = read_reply(body)
    choice = asking.journal.add(key, _likeliest_first(choice, request.get("top_logprobs")), usage)
    if "raw" in choice:
        return Failure("unusable", "an answer that is no chat completion")
    if not asking.is_usable(choice):
        return Failure("unusable", f"no judgment in the answer {text_of(choice)[:40]!r}")
    return choice


def _wait(asking: _Asking, attempt: int, error: "APIError") -> bool:
    """Waits as long as the judge says, or longer each time; False where it says too long a time."""
    import openai

    said = error.response.headers.get("retry-after", "") if isinstance(error, openai.APIStatusError) else ""
    seconds = float(said) if said.isdecimal() else FIRST_WAIT * 4**attempt * random.uniform(0.75, 1)
    if said.isdecimal() and seconds > asking.judge.max_wait_s:
        return False
    seconds = min(seconds, asking.judge.max_wait_s) if said.isdecimal() else min(seconds, LONGEST_WAIT)
    if seconds >= TOLD_WAIT:
        logging.getLogger("expo").info(f"judge {asking.judge.model}: busy, waiting {seconds:.0f} s")
    return not asking.stop.wait(seconds)


def _likeliest_first(choice: Choice, count: int | None) -> Choice:
    """vLLM puts the token that was drawn first, whether or not it is among the `count` likeliest."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for token in content if isinstance(content, list) else []:
        listed = token.get("top_logprobs") if isinstance(token, dict) else None
        if isinstance(listed, list) and all(map(_has_logprob, listed)):
            token["top_logprobs"] = sorted(listed, key=lambda entry: -entry["logprob"])[:count]
    return choice


def _has_logprob(entry: object) -> bool:
    value = entry.get("logprob") if isinstance(entry, dict) else None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _failure(asking: _Asking, error: "APIError") -> Failure:
    """What a failed request means for this item; raises when it means the same for all of them.

    Without the openai error as cause: its text may hold the key.
    """
    import openai

    said = scrubbed(str(error), asking.judge)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        raise asking.fail(
            PermanentError, f"it refuses the key in {asking.judge.api_key_env}: {said}"
        ) from None
    if isinstance(error, openai.NotFoundError):
        raise asking.fail(PermanentError, f"no such model or path, check both: {said}") from None
    if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
        raise asking.fail(PermanentError, f"the account's quota is used up: {said}") from None
    if isinstance(error, openai.APITimeoutError):
        return Failure("busy", f"no answer within {asking.judge.timeout_s:g} s")
    # by name: the HTTP library behind the client is another one in each of its major versions
    if isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ == "ConnectError":
        raise asking.fail(RetryableError, f"it cannot be reached, is it running? {said}") from None
    if isinstance(error, openai.APIConnectionError | openai.RateLimitError | openai.InternalServerError):
        return Failure("busy", f"the judge said: {said}")
    return Failure("refused", f"the judge said: {said}")
