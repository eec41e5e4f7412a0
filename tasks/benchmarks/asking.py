"""Asking a judge many questions, so that no answer that was paid for is lost or paid for twice."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tasks.benchmarks.budget import Usage, check_budget, estimate
from tasks.benchmarks.judge_config import Judge, open_client, scrubbed
from tasks.benchmarks.judge_journal import Choice, Journal
from tasks.core.errors import ExpoError, PermanentError, RetryableError
from tasks.core.values import fingerprint

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["Failure", "Request", "ask_all", "check_share"]

Request = dict[str, Any]

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
    patience: int
    stop: threading.Event

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
    advance: Callable[[int], None],
) -> list[Choice | Failure]:
    """One answer, or the reason why there is none, for each request, in their order.

    Each request holds the keyword arguments of `chat.completions.create`. `advance` gets the
    number of items that are done. Answers that are not usable are kept in the journal, and
    asked for again in the judge's further rounds.

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
            asking = _Asking(client, judge, journal, is_usable, patience, threading.Event())
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
    raise PermanentError(f"{message}. Choose another judge, or a lower min_judged")


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
    """Asks every request once, in threads, and gives the answers as they come."""
    failed_in_a_row = 0
    pool = ThreadPoolExecutor(asking.judge.max_concurrency, thread_name_prefix="judge")
    try:
        asked: dict[Future[Choice | Failure], str] = {
            pool.submit(_ask, asking, key, request): key for key, request in requests.items()
        }
        for future in as_completed(asked):
            answer = future.result()
            failed_in_a_row = failed_in_a_row + 1 if isinstance(answer, Failure) else 0
            if isinstance(answer, Failure) and failed_in_a_row == asking.patience:
                kind = RetryableError if answer.kind == "busy" else PermanentError
                raise asking.fail(kind, f"{failed_in_a_row} requests in a row failed; {answer.reason}")
            yield asked[future], answer
    finally:
        # what is in flight is paid for: wait until it is in the journal
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(asking: _Asking, key: str, request: Request) -> Choice | Failure:
    """Asks once (the client itself tries again) and keeps whatever was answered."""
    import openai

    if asking.stop.is_set():
        return Failure("busy", "not asked: the judging ended before")
    try:
        completion: Any = asking.client.chat.completions.create(**request)
    except openai.APIError as error:
        return _failure(asking, error)
    except ValueError:  # the client lets a body through that is no JSON
        completion = None
    if not getattr(completion, "choices", None):
        return Failure("unusable", "an answer that is no chat completion")
    choice = completion.choices[0].model_dump(mode="json", exclude_none=True)
    usage = Usage(requests=1)
    if counted := completion.usage:
        choice["total_tokens"] = counted.total_tokens
        usage = Usage(
            requests=1, prompt_tokens=counted.prompt_tokens, completion_tokens=counted.completion_tokens
        )
    choice = asking.journal.add(key, _likeliest_first(choice, request.get("top_logprobs")), usage)
    if not asking.is_usable(choice):
        said = str(choice["message"].get("content"))[:40]
        return Failure("unusable", f"no judgment in the answer {said!r}")
    return choice


def _likeliest_first(choice: Choice, count: int | None) -> Choice:
    """vLLM puts the token that was drawn first, whether or not it is among the `count` likeliest."""
    for token in (choice.get("logprobs") or {}).get("content") or []:
        token["top_logprobs"] = sorted(token["top_logprobs"], key=lambda one: -one["logprob"])[:count]
    return choice


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
