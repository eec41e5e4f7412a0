"""The order of the work: each answer once, second turns with the first answers, however it is shared."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.generation.answer_journal import Answer, Header
from tasks.generation.answers import answers_file, finish
from tasks.generation.questions import Question
from tasks.generation.rounds import Rank, Request, answer_batches
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling

HEADER = Header(job="4f" * 32, engine="echo 1")


class Echo:
    """Answers with what it was asked; stops after so many batches, as if it were killed."""

    def __init__(self, batches: int = 1_000) -> None:
        self.batches = batches

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None]) -> tuple[Answer, ...]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        on_progress(len(requests))
        return tuple(
            Answer(output=f" {request} ", tokens=3, finish_reason="stop", looping=False)
            for request in requests
        )


def questions_of(count: int) -> list[Question]:
    return [
        Question(
            turns=(f"q{number}", f"more {number}"),
            category=("math", "writing")[number % 2],
            item={"question_id": 81 + number},
        )
        for number in range(count)
    ]


def job_in(folder: Path, batch_size: int) -> GenerationJob:
    settings = GenerationSettings(
        sampling=Sampling(seed=7), category_temperatures={"math": 0.0}, batch_size=batch_size
    )
    return GenerationJob(
        model="m",
        instructions="i",
        output=str(folder),
        settings=settings,
        generator="g",
        benchmark="mt_bench",
        form="dialogues",
    )


def run(job: GenerationJob, count: int, rank: Rank, echo: Echo) -> None:
    answer_batches(
        Path(job.output), HEADER, questions_of(count), job.settings, rank, lambda: echo, lambda _: None
    )


def content_of(job: GenerationJob, count: int) -> bytes:
    summary = finish(job, HEADER.job, questions_of(count))
    assert summary is not None and summary.count == 2 * count
    return (Path(job.output) / answers_file("mt_bench", "dialogues")).read_bytes()


def test_second_turn_sees_the_models_own_answer(tmp_path: Path) -> None:
    """With the category's temperature, a seed of its own, and FastChat's form."""
    job = job_in(tmp_path, batch_size=2)
    run(job, 3, Rank(), Echo())
    rows = [json.loads(line) for line in content_of(job, 3).splitlines()]
    assert [row["question_id"] for row in rows] == [81, 82, 83]
    first, second = rows[2]["choices"][0]["turns"]
    assert first == str(Request(chat=("q2",), temperature=0.0, seed=9))
    assert second == str(Request(chat=("q2", first, "more 2"), temperature=0.0, seed=12))
    assert "temperature=0.7" in rows[1]["choices"][0]["turns"][1]


@pytest.mark.slow
@given(
    count=st.integers(1, 9),
    batch_size=st.integers(1, 4),
    lives=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=4),
)
def test_any_kills_and_any_sharing_end_in_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, count: int, batch_size: int, lives: list[tuple[int, int]]
) -> None:
    """Each life has another number of engines, and each engine dies after some batches."""
    plain, other = (job_in(tmp_path_factory.mktemp(name), batch_size) for name in ("plain", "other"))
    run(plain, count, Rank(), Echo())
    for engines, batches in lives:
        for engine in range(engines):
            try:
                run(other, count, Rank(engine, engines), Echo(batches))
            except KeyboardInterrupt:
                continue
    for engine in range(2):
        run(other, count, Rank(engine, 2), Echo())
    assert content_of(other, count) == content_of(plain, count)


def test_an_incomplete_journal_is_not_finished(tmp_path: Path) -> None:
    job = job_in(tmp_path, batch_size=2)
    run(job, 3, Rank(0, 2), Echo())
    assert finish(job, HEADER.job, questions_of(3)) is None
    assert not (tmp_path / answers_file("mt_bench", "dialogues")).exists()


def test_what_is_done_needs_no_answerer(tmp_path: Path) -> None:
    job = job_in(tmp_path, batch_size=2)
    run(job, 3, Rank(), Echo())

    def never() -> Echo:
        raise AssertionError

    assert (
        answer_batches(tmp_path, HEADER, questions_of(3), job.settings, Rank(), never, lambda _: None) is None
    )
