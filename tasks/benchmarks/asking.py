"""Asking a judge many questions, so that no answer that was paid for is lost or paid for twice.

    {"choice": {"message": …, "logprobs": …}, "key": "5f0e…"}     one line an answer, in the journal

The journal's key is the sha256 of the request (model, messages, sampling): a question whose
answer is there is not asked again, whoever asks. Killed at any moment, only the requests in
flight are paid again.
"""

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from tasks.benchmarks.judge import Judge, open_client, scrubbed
from tasks.errors import ExpoError, PermanentError, RetryableError
from tasks.values import canonical_json, fingerprint

if TYPE_CHECKING:
    from openai import APIError, OpenAI

__all__ = ["Choice", "Failure", "Journal", "Request", "ask_all", "check_share"]

Request = dict[str, Any]
Choice = dict[str, Any]

PATIENCE = 20  # failures in a row after which the judge is not asked on


class Failure(NamedTuple):
    """Why an item has no judgment.

    busy      the same request can succeed later
    unusable  it was answered, but not with a judgment; asked again, it may be
    refused   the judge does not take this request, now or later
    """

    kind: Literal["busy", "unusable", "refused"]
    reason: str


class Journal:
    """An append-only file of answers that one process at a time holds open; safe for threads."""

    def __init__(self, path: Path) -> None:
        """Opens the journal, makes it if need be, and cuts off a torn last line.

        Raises:
            RetryableError: another process is writing this journal.
        """
        self._lock = threading.Lock()
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RetryableError(f"{path}: another process is judging here; wait for its end") from None
        self._answers = self._recover()

    def get(self, key: str) -> Choice | None:
        """The last answer to a request, None if there is none."""
        return self._answers.get(key)

    def add(self, key: str, choice: Choice) -> None:
        """Keeps an answer; when this returns it is on the disk."""
        with self._lock:
            self._file.write(canonical_json({"key": key, "choice": choice}) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._answers[key] = choice

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _recover(self) -> dict[str, Choice]:
        self._file.seek(0)
        answers: dict[str, Choice] = {}
        whole = 0
        for line in self._file:
            entry = _entry(line)
            if entry is None:
                break
            answers[entry["key"]] = entry["choice"]
            whole += len(line)
        self._file.truncate(whole)
        return answers


class _Desk(NamedTuple):
    """What every request of a judging has in common."""

    client: "OpenAI"
    judge: Judge
    journal: Journal
    is_usable: Callable[[Choice], bool]

    def fail(self, kind: type[ExpoError], reason: str) -> ExpoError:
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
        PermanentError: the judge refuses the key, the model or all that is asked.
        RetryableError: the endpoint cannot be reached, or keeps failing.
    """
    keys = [fingerprint(request) for request in requests]
    times = Counter(keys)
    by_key = dict(zip(keys, requests, strict=True))
    answers: dict[str, Choice | Failure] = {
        key: choice for key in by_key if (choice := journal.get(key)) is not None and is_usable(choice)
    }
    advance(sum(times[key] for key in answers))
    with open_client(judge) as client:
        desk = _Desk(client, judge, journal, is_usable)
        for _ in range(judge.rounds):
            for key, answer in _one_round(
                desk, {key: by_key[key] for key in by_key if _is_open(answers, key)}
            ):
                answers[key] = answer
                advance(0 if isinstance(answer, Failure) else times[key])
    return [answers[key] for key in keys]


def check_share(failures: Sequence[Failure], n_total: int, judge: Judge) -> None:
    """Refuses a result of which too little was judged.

    Raises:
        RetryableError, PermanentError: fewer than `judge.min_judged` of `n_total` items were
            judged; retryable when the judge was too busy for one of them.
    """
    if len(failures) <= (1 - judge.min_judged) * n_total:
        return
    worst = next((failure for failure in failures if failure.kind == "busy"), failures[0])
    raise (RetryableError if worst.kind == "busy" else PermanentError)(
        f"judge {judge.model} at {judge.url}: {n_total - len(failures)} of {n_total} items were judged, and "
        f"a figure needs {judge.min_judged:.0%} of them; {worst.reason}. Run again: only the rest is asked"
    )


def _is_open(answers: dict[str, Choice | Failure], key: str) -> bool:
    answer = answers.get(key)
    return answer is None or (isinstance(answer, Failure) and answer.kind != "refused")


def _one_round(desk: _Desk, requests: dict[str, Request]) -> Iterator[tuple[str, Choice | Failure]]:
    """Asks every request once, in threads, and gives the answers as they come."""
    failed_in_a_row = 0
    pool = ThreadPoolExecutor(desk.judge.max_concurrency, thread_name_prefix="judge")
    try:
        asked: dict[Future[Choice | Failure], str] = {
            pool.submit(_ask, desk, key, request): key for key, request in requests.items()
        }
        for future in as_completed(asked):
            answer = future.result()
            failed_in_a_row = failed_in_a_row + 1 if isinstance(answer, Failure) else 0
            if isinstance(answer, Failure) and failed_in_a_row == PATIENCE:
                kind = RetryableError if answer.kind == "busy" else PermanentError
                raise desk.fail(kind, f"{PATIENCE} requests in a row failed; {answer.reason}")
            yield asked[future], answer
    finally:
        # what is in flight is paid for: wait until it is in the journal
        pool.shutdown(wait=True, cancel_futures=True)


def _ask(desk: _Desk, key: str, request: Request) -> Choice | Failure:
    """Asks once (the client itself tries again) and keeps whatever was answered."""
    import openai

    try:
        completion = desk.client.chat.completions.create(**request)
    except openai.APIError as error:
        return _failure(desk, error)
    if not getattr(completion, "choices", None):
        return Failure("unusable", "an answer that is no chat completion")
    choice: Choice = completion.choices[0].model_dump(mode="json", exclude_none=True)
    choice["total_tokens"] = completion.usage.total_tokens if completion.usage else 0
    desk.journal.add(key, choice)
    if not desk.is_usable(choice):
        return Failure(
            "unusable", f"no judgment in the answer {str(choice['message'].get('content'))[:40]!r}"
        )
    return choice


def _failure(desk: _Desk, error: "APIError") -> Failure:
    """What a failed request means for this item; raises when it means the same for all of them.

    Without the openai error as cause: its text may hold the key.
    """
    import openai

    said = scrubbed(str(error), desk.judge)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        raise desk.fail(PermanentError, f"it refuses the key in {desk.judge.api_key_env}: {said}") from None
    if isinstance(error, openai.NotFoundError):
        raise desk.fail(PermanentError, f"no such model or path, check both: {said}") from None
    if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
        raise desk.fail(PermanentError, f"the account's quota is used up: {said}") from None
    if isinstance(error, openai.APITimeoutError):
        return Failure("busy", f"no answer within {desk.judge.timeout_s:g} s")
    if isinstance(error, openai.APIConnectionError):
        raise desk.fail(RetryableError, f"it cannot be reached, is it running? {said}") from None
    if isinstance(error, openai.RateLimitError | openai.InternalServerError | openai.ConflictError):
        return Failure("busy", f"the judge said: {said}")
    return Failure("refused", f"the judge said: {said}")


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line's entry, None where the line is torn or damaged."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"key", "choice"} <= entry.keys() else None
