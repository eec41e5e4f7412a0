"""The order of a generation's work: batches of questions, first turns first, each batch once.

Batches are cut at the same places in every run, and batch b of the second turn asks what batch b
of the first turn was asked. So engines that share a generation (each takes every n-th batch of
a turn) never wait for each other's answers.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from tasks.generation.answer_journal import Answer, Batch, Header, Journal, journal_file, read_batches
from tasks.generation.questions import Question
from tasks.generation.settings import GenerationSettings

__all__ = [
    "ChatBackend",
    "Rank",
    "Request",
    "answer_batches",
    "answers_in_order",
    "batches_of",
    "is_complete",
]

OnProgress = Callable[[int], None]


class Rank(NamedTuple):
    """Which of several engines of one generation this is."""

    rank: int = 0
    world_size: int = 1


class Request(NamedTuple):
    """One answer to be made.

    chat  what was said so far, the user and the model in turn; the last is the user's
    """

    chat: tuple[str, ...]
    temperature: float
    seed: int


class ChatBackend(Protocol):
    """What answers: vLLM in this process, or an endpoint."""

    def answer(self, requests: Sequence[Request], on_progress: OnProgress) -> tuple[Answer, ...]:
        """The answers in the order of the requests; `on_progress` gets the number of new ones."""


A = TypeVar("A", bound=ChatBackend)


def batches_of(count: int, settings: GenerationSettings) -> int:
    """Batches of one turn of so many questions."""
    return -(-count // settings.batch_size)


def answer_batches(
    folder: Path,
    header: Header,
    questions: Sequence[Question],
    settings: GenerationSettings,
    rank: Rank,
    backend: Callable[[], A],
    on_progress: OnProgress,
) -> A | None:
    """Answers what the journal lacks of the batches of this rank.

    Args:
        backend: called once, and only if there is something to do.

    Returns:
        The backend, None if it was not needed.

    Raises:
        RetryableError: another process is writing the batches of this rank.
    """
    turns, cuts = len(questions[0].turns), batches_of(len(questions), settings)
    with Journal(folder / journal_file(rank.rank), header) as journal:
        done = read_batches(folder)[header]
        numbers = [
            turn * cuts + cut for turn in range(turns) for cut in range(rank.rank, cuts, rank.world_size)
        ]
        todo = [number for number in numbers if not _is_whole(done.get(number), number, questions, settings)]
        made = backend() if todo else None
        for number in todo:
            assert made is not None
            started = time.monotonic()
            answers = made.answer(_requests(number, questions, done, settings), on_progress)
            batch = Batch(batch=number, seconds=time.monotonic() - started, answers=answers)
            journal.append(batch)
            done[number] = batch
    return made


def is_complete(
    batches: Mapping[int, Batch], questions: Sequence[Question], settings: GenerationSettings
) -> bool:
    """Whether every answer to every turn is there."""
    numbers = range(len(questions[0].turns) * batches_of(len(questions), settings))
    return all(_is_whole(batches.get(number), number, questions, settings) for number in numbers)


def answers_in_order(batches: Mapping[int, Batch]) -> list[Answer]:
    """Every answer in the order of the questions, first turns first."""
    return [answer for number in sorted(batches) for answer in batches[number].answers]


def _positions(number: int, count: int, settings: GenerationSettings) -> range:
    first = number % batches_of(count, settings) * settings.batch_size
    return range(first, min(first + settings.batch_size, count))


def _is_whole(
    batch: Batch | None, number: int, questions: Sequence[Question], settings: GenerationSettings
) -> bool:
    return batch is not None and len(batch.answers) == len(_positions(number, len(questions), settings))


def _requests(
    number: int, questions: Sequence[Question], done: Mapping[int, Batch], settings: GenerationSettings
) -> list[Request]:
    cuts = batches_of(len(questions), settings)
    turn, cut = divmod(number, cuts)
    said = [done[before * cuts + cut].answers for before in range(turn)]
    return [
        Request(
            chat=_chat(questions[position].turns[: turn + 1], [answers[place].output for answers in said]),
            temperature=_temperature(questions[position], settings),
            seed=settings.sampling.seed + turn * len(questions) + position,
        )
        for place, position in enumerate(_positions(number, len(questions), settings))
    ]


def _chat(turns: Sequence[str], answers: Sequence[str]) -> tuple[str, ...]:
    """Turns and the model's own answers, alternating; white space around an answer is no part of it."""
    chat = [text for pair in zip(turns, answers, strict=False) for text in (pair[0], pair[1].strip())]
    return (*chat, turns[-1])


def _temperature(question: Question, settings: GenerationSettings) -> float:
    usual = settings.sampling.temperature
    return settings.category_temperatures.get(question.category or "", usual)
