"""Asking a judge many questions, so that no answer that was paid for is lost or paid for twice."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tasks.benchmarks.budget import Usage, check_budget, estimate
from tasks.benchmarks.judge_config import Judge, open_client, scrubbed
from tasks.benchmarks.judge_journal import Choice, Journal
from tasks.benchmarks.request_slots import request_slots
from tasks.core.errors import ExpoError, PermanentError, RetryableError
from tasks.core.values import fingerprint
from tasks.generation.completions import parse_completion, read_body, retry_wait, text_of

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["Failure", "Request", "ask_all", "check_share"]

Request = dict[str, Any]

TOLD_WAIT = 5.0  # seconds from which a wait is said
PATIENCE = 20  # failures in a row after which the judge is asked no more (or more, see `ask_all`)


class Failure(NamedTuple):
    """Why an item has no judgment.

    kind    busy: the same request can succeed later; unusable: it was answered, but not with a
            judgment, and asked again it may be; refused: the judge does not take this request,
            now or later
    reason  in words
    cause   what it is counted as: "timeout", "busy", "refused", "bad reply", "low mass", …
    """

    kind: Literal["busy", "unusable", "refused"]
    reason: str
    cause: str


class _Asking(NamedTuple):
    """What every request of a judging has in common."""

    client: "OpenAI"
    judge: Judge
    journal: Journal
    defect: Callable[[Choice], str]
    says_something: Callable[[Choice], bool]
    patience: int
    stop: threading.Event
    slots: threading.BoundedSemaphore

    def doubt(self, choice: Choice) -> Failure | None:
        """Why a usable choice is no judgment all the same, None if it is one."""
        if self.says_something(choice):
            return None
        return _without_judgment(choice, "unparsed")

    def fail(self, kind: type[ExpoError], reason: str) -> ExpoError:
        """The error that ends the judging; whoever has not asked yet asks no more."""
        self.stop.set()
        return kind(f"judge {self.judge.model} at {self.judge.url}: {scrubbed(reason, self.judge)}")


def ask_all(
    requests: Sequence[Request],
    judge: Judge,
    journal: Journal,
    *,
    defect: Callable[[Choice], str],
    says_something: Callable[[Choice], bool] = lambda _: True,
    advance: Callable[[int], None],
) -> list[Choice | Failure]:
    """One answer, or the reason why there is none, for each request, in their order.

    Each request holds the keyword arguments of `chat.completions.create`. `advance` gets the
    number of items that are done. `defect` says what makes an answer unusable ("" if nothing does):
    such answers are kept in the journal, and asked for again in the judge's further rounds. Usable
    ones that say nothing (`says_something`) are counted as answers, but many of them in a row end
    the judging as failures do.

    Raises:
        PermanentError: the judge refuses the key, the model or all that is asked, or its budget
            does not allow it.
        RetryableError: the endpoint cannot be reached, or keeps failing.
    """
    keys = [fingerprint(request) for request in requests]
    by_key = dict(zip(keys, requests, strict=True))
    answers: dict[str, Choice | Failure] = {
        key: choice for key in by_key if (choice := journal.get(key)) is not None and not defect(choice)
    }
    advance(len(answers))
    if len(answers) < len(by_key):
        # so many failures in a row that too few items would be left for a figure
        patience = max(PATIENCE, 1 + int((1 - judge.min_judged) * len(requests)))
        with open_client(judge) as client:
            stop, slots = threading.Event(), request_slots(judge)
            asking = _Asking(client, judge, journal, defect, says_something, patience, stop, slots)
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
        f"a figure needs {judge.min_judged:.0%} of them ({_causes(failures)}); {worst.reason}"
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
        missing = {key: request for key, request in requests.items() if _is_open(answers.get(key))}
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
        try:
            with asking.slots:
                if asking.stop.is_set():
                    return Failure("busy", "not asked: the judging ended before", "not asked")
                body = read_body(asking.client, request, asking.judge.timeout_s)
            return _kept(asking, key, request, body)
        except openai.APIError as error:
            failure = _failure(asking, error)
            waits = failure.kind == "busy" and attempt < asking.judge.retries
            if not waits or not _wait(asking, attempt, error):
                return failure
        except TimeoutError:
            return _too_slow(asking)
    raise AssertionError("unreachable: the last attempt returns")


def _kept(asking: _Asking, key: str, request: Request, body: str) -> Choice | Failure:
    """What was answered, in the journal before anything is made of it: it was paid for."""
    choice, prompt_tokens, completion_tokens = parse_completion(body)
    usage = Usage(requests=1, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    choice = asking.journal.add(key, _likeliest_first(choice, request.get("top_logprobs")), usage)
    if "raw" in choice:
        return Failure("unusable", "an answer that is no chat completion", "bad reply")
    defect = asking.defect(choice)
    return _without_judgment(choice, defect) if defect else choice


def _without_judgment(choice: Choice, cause: str) -> Failure:
    return Failure("unusable", f"no judgment in the answer {text_of(choice)[:40]!r} ({cause})", cause)


def _too_slow(asking: _Asking) -> Failure:
    return Failure("busy", f"no answer within {asking.judge.timeout_s:g} s", "timeout")


def _causes(failures: Sequence[Failure]) -> str:
    """The failures in numbers: "12 low mass, 3 timeout"."""
    counts = Counter(failure.cause for failure in failures)
    return ", ".join(f"{count} {cause}" for cause, count in counts.most_common())


def _wait(asking: _Asking, attempt: int, error: "APIError") -> bool:
    """Waits before another try; False where the judge asks for too long a time, or the judging has ended."""
    seconds = retry_wait(error, attempt, asking.judge.max_wait_s)
    if seconds is None:
        return False
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
    if isinstance(error, openai.AuthenticationError):
        raise asking.fail(
            PermanentError, f"it refuses the key in {asking.judge.api_key_env}: {said}"
        ) from None
    if isinstance(error, openai.NotFoundError):
        raise asking.fail(PermanentError, f"no such model or path, check both: {said}") from None
    if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
        raise asking.fail(PermanentError, f"the account's quota is used up: {said}") from None
    if isinstance(error, openai.APITimeoutError):
        return _too_slow(asking)
    # by name: the HTTP library behind the client is another one in each of its major versions
    if isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ == "ConnectError":
        raise asking.fail(RetryableError, f"it cannot be reached, is it running? {said}") from None
    if isinstance(error, openai.APIConnectionError | openai.RateLimitError | openai.InternalServerError):
        return Failure("busy", f"the judge said: {said}", "busy")
    # a filter says 403 of one item, a provider of a model that the key may not use: then all fail alike
    hint = "; may this key use the model?" if isinstance(error, openai.PermissionDeniedError) else ""
    return Failure("refused", f"the judge said: {said}{hint}", "refused")
