"""Real vLLM on a tiny random Llama: the same answers whatever is killed on the way."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers.pre_tokenizers import ByteLevel

from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError
from tasks.generation.answer_journal import journal_file
from tasks.generation.answers import SUMMARY, answers_file
from tasks.generation.process import generate
from tasks.generation.settings import GenerationJob, GenerationSettings, GenerationSummary, Sampling
from tests.servers.processes import descendants, kill
from tests.waiting import LIMIT

pytestmark = pytest.mark.slow

ANSWERS, JOURNAL = answers_file("alpaca_eval", "instructions"), journal_file(0)
COUNT = 48
QUESTIONS = 8
SETTINGS = GenerationSettings(sampling=Sampling(max_tokens=200), batch_size=4)
# As a Prefect task does: the call is made in a thread that is not the main one.
CALLER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from tasks.generation.process import generate
from tasks.generation.settings import GenerationJob
job = GenerationJob.model_validate_json(sys.argv[1])
advance = lambda count: print(count, flush=True)
ThreadPoolExecutor().submit(generate, [job], advance=advance).result()
"""


def no_progress(_count: int) -> None:
    pass


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("instructions") / "instructions.json"
    # More tokens together than vLLM takes in one step: it must not cut a prompt in pieces.
    items = [{"dataset": "d", "instruction": f"Say {i}. " * (5 + i % 20)} for i in range(COUNT)]
    assert sum(len(item["instruction"]) for item in items) > 4096
    path.write_text(json.dumps(items))
    return path


@pytest.fixture(scope="module")
def job(tiny_llama: Path, instructions: Path) -> GenerationJob:
    return GenerationJob(
        model=str(tiny_llama),
        instructions=str(instructions),
        output="",
        settings=SETTINGS,
        generator="tiny",
        benchmark="alpaca_eval",
        form="instructions",
    )


class Undisturbed:
    """Four jobs in one engine, never interrupted: the job, the same at once, one with stop tokens,
    and one of two turns."""

    def __init__(self, job: GenerationJob, questions: Path, folder: Path) -> None:
        at_once = SETTINGS.model_copy(update={"batch_size": COUNT})
        letters = sorted(ByteLevel.alphabet())[:128]  # half of the vocabulary
        stopping = SETTINGS.model_copy(update={"stop_tokens": tuple(letters)})
        variants = {"plain": SETTINGS, "at-once": at_once, "stopping": stopping}
        self.answered = 0
        self.jobs = [
            job.model_copy(update={"output": str(folder / name), "settings": settings})
            for name, settings in variants.items()
        ]
        self.jobs.append(
            job.model_copy(
                update={
                    "instructions": str(questions),
                    "output": str(folder / "two turns"),
                    "settings": SETTINGS.model_copy(update={"category_temperatures": {"math": 0.0}}),
                    "benchmark": "mt_bench",
                    "form": "dialogues",
                }
            )
        )
        self.plain, self.at_once, self.stopping, self.two_turns = generate(self.jobs, advance=self.advance)

    def advance(self, count: int) -> None:
        self.answered += count


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight of MT-Bench's form; the first and the last are the same, and so must their answers be."""
    path = tmp_path_factory.mktemp("questions") / "question.jsonl"
    rows = [
        {"question_id": number, "category": "math", "turns": [f"Say {number % 7}", f"Why {number % 7}?"]}
        for number in range(QUESTIONS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def undisturbed(job: GenerationJob, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(job, questions, tmp_path_factory.mktemp("undisturbed"))


def test_answers_in_order_and_in_alpacaevals_form(undisturbed: Undisturbed, instructions: Path) -> None:
    job = undisturbed.jobs[0]
    answers = json.loads((Path(job.output) / ANSWERS).read_text())
    assert [a["instruction"] for a in answers] == [
        i["instruction"] for i in json.loads(instructions.read_text())
    ]
    assert {tuple(a) for a in answers} == {("dataset", "instruction", "output", "generator")}
    assert {a["generator"] for a in answers} == {"tiny"}
    assert len({a["output"] for a in answers}) > COUNT // 2
    assert undisturbed.answered == 3 * COUNT + 2 * QUESTIONS


def test_summary_says_what_was_done(undisturbed: Undisturbed, tiny_llama: Path) -> None:
    summary = undisturbed.plain
    assert summary.count == sum(summary.finish_reasons.values()) == COUNT
    assert summary.truncated == summary.finish_reasons["length"] > 0
    assert 0 < summary.mean_tokens <= 200
    assert summary.engine.startswith("vllm ")
    # <s> <|user|> … </s> \n <|assistant|> \n: one BOS, and the generation prompt at the end.
    assert summary.first_prompt_ids[:2] == (0, 2)
    assert summary.first_prompt_ids[-2] == 3
    stored = (Path(undisturbed.jobs[0].output) / SUMMARY).read_bytes()
    assert GenerationSummary.model_validate_json(stored) == summary


def test_answers_do_not_depend_on_the_batches(undisturbed: Undisturbed) -> None:
    """True on a CPU; on a GPU the fixed batches keep a resumed run equal."""
    assert undisturbed.at_once.answers_sha256 == undisturbed.plain.answers_sha256


def test_engines_that_share_the_batches_give_the_same_answers(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Two processes beside each other, and so: the same seed, the same answers, across processes."""
    jobs = [undisturbed.jobs[0], undisturbed.jobs[3]]
    shared = [job.model_copy(update={"output": str(tmp_path / job.benchmark)}) for job in jobs]
    answered: list[int] = []
    summaries = generate(shared, advance=answered.append, engines=2)
    assert [summary.answers_sha256 for summary in summaries] == [
        undisturbed.plain.answers_sha256,
        undisturbed.two_turns.answers_sha256,
    ]
    assert sum(answered) == COUNT + 2 * QUESTIONS
    sizes = [len((tmp_path / "alpaca_eval" / journal_file(number)).read_bytes()) for number in range(2)]
    assert min(sizes) > max(sizes) / 3


def test_stop_tokens_reach_the_engine(undisturbed: Undisturbed) -> None:
    assert undisturbed.stopping.truncated == undisturbed.stopping.without_end == 0
    assert undisturbed.stopping.stop_token_ids == tuple(range(4, 132))
    assert undisturbed.stopping.mean_tokens < undisturbed.plain.mean_tokens / 4


def test_two_turns_in_fastchats_form(undisturbed: Undisturbed) -> None:
    """At temperature 0 equal questions have equal answers, also to the second turn."""
    rows = read_rows(undisturbed.jobs[3])
    assert [row["question_id"] for row in rows] == list(range(QUESTIONS))
    turns = [row["choices"][0]["turns"] for row in rows]
    assert turns[0] == turns[7] and turns[0] != turns[1]
    assert all(len(both) == 2 for both in turns)
    assert undisturbed.two_turns.count == 2 * QUESTIONS


def test_two_turns_resume_in_either(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A journal cut in the first turns and one cut in the second end in the same answers."""
    whole = (Path(undisturbed.jobs[3].output) / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(whole) == 1 + 4
    jobs = []
    for batches in (1, 3):
        folder = tmp_path / str(batches)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(b"".join(whole[: 1 + batches]) + b'{"answers": [')
        jobs.append(undisturbed.jobs[3].model_copy(update={"output": str(folder)}))
    for summary in generate(jobs, advance=no_progress):
        assert summary.answers_sha256 == undisturbed.two_turns.answers_sha256


def read_rows(job: GenerationJob) -> list[dict[str, Any]]:
    text = (Path(job.output) / answers_file("mt_bench", "dialogues")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_done_starts_no_engine(undisturbed: Undisturbed) -> None:
    answered: list[int] = []
    again = generate(undisturbed.jobs, advance=answered.append, python="/no/such/python")
    assert again == (undisturbed.plain, undisturbed.at_once, undisturbed.stopping, undisturbed.two_turns)
    assert sum(answered) == 3 * COUNT + 2 * QUESTIONS


def test_changed_answers_are_made_again_from_the_journal(undisturbed: Undisturbed) -> None:
    job = undisturbed.jobs[2]
    answers = Path(job.output) / ANSWERS
    before = answers.read_bytes()
    answers.write_bytes(before + b" ")
    (again,) = generate([job], advance=no_progress, python="/no/such/python")
    assert again == undisturbed.stopping and answers.read_bytes() == before


def test_kills_on_both_sides_then_the_same_answers(
    job: GenerationJob, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """kill -9 of the process with the model, then of the caller, then the rest: the same sha256."""
    job = job.model_copy(update={"output": str(tmp_path)})
    first = kill_the_engine(job)
    second = kill_the_caller(job)
    assert 0 < first < second < COUNT
    before = (tmp_path / JOURNAL).read_bytes()
    (summary,) = generate([job], advance=no_progress)
    assert summary.answers_sha256 == undisturbed.plain.answers_sha256
    assert (tmp_path / JOURNAL).read_bytes().startswith(before[: before.rindex(b"\n")])


def kill_the_engine(job: GenerationJob) -> int:
    """Kills the process that holds the model once answers have come; gives the answers in the journal."""

    def kill_once_answered(_count: int) -> None:
        if journaled(job):
            # the one with the model is the deepest
            kill(max(descendants(os.getpid()), key=lambda process: len(process.parents())))

    with pytest.raises(RetryableError, match="signal 9"):
        generate([job], advance=kill_once_answered)
    return journaled(job)


def kill_the_caller(job: GenerationJob) -> int:
    """Kills the caller once new answers are in the journal, and waits for its engine's end."""
    before = journaled(job)
    command = [sys.executable, "-c", CALLER, job.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        for _ in caller.stdout:
            if journaled(job) > before:
                break
        engines = [os.pidfd_open(process.pid) for process in descendants(caller.pid)]
        caller.kill()
    assert len(engines) == 3  # what has imported vLLM, the engine, and its child with the model
    for engine in engines:
        assert select.select([engine], [], [], LIMIT)[0], "an engine outlives its caller"
        os.close(engine)
    return journaled(job)


def journaled(job: GenerationJob) -> int:
    """Answers in whole lines of the journal."""
    path = Path(job.output) / JOURNAL
    batches = path.read_bytes().count(b"\n") - 1 if path.is_file() else 0
    return batches * job.settings.batch_size


def test_refusals_of_the_engine_reach_the_caller(job: GenerationJob, tmp_path: Path) -> None:
    """A checkpoint without template, in the process that finds it out."""
    model = Path(shutil.copytree(job.model, tmp_path / "model"))
    (model / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template; give one as chat_template"):
        generate(
            [job.model_copy(update={"model": str(model), "output": str(tmp_path / "out")})],
            advance=no_progress,
        )


def test_damaged_weights_are_named(job: GenerationJob, tmp_path: Path) -> None:
    model = Path(shutil.copytree(job.model, tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptError, match="weights are damaged"):
        generate(
            [job.model_copy(update={"model": str(model), "output": str(tmp_path / "out")})],
            advance=no_progress,
        )


def test_a_model_that_does_not_fit_says_what_to_set(job: GenerationJob, tmp_path: Path) -> None:
    """Five million tokens of 256 bytes are more than the GiB that a CPU's cache has here."""
    model = Path(shutil.copytree(job.model, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 5_000_000}))
    long = job.model_copy(update={"model": str(model), "output": str(tmp_path / "out")})
    with pytest.raises(
        PermanentError, match=r"does not fit: set .*smaller max_model_len.*KV\s+cache is needed"
    ):
        generate([long], advance=no_progress)
