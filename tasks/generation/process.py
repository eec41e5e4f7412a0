"""Answers of models to instructions, by vLLM in a process of its own.

    summaries = generate([original, expo], advance=progress.advance)

One engine process serves the jobs one after another. It ends with its caller, and a call that
was cut short continues behind the last whole batch of each job's journal.
"""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import tasks
from tasks.errors import InputError
from tasks.generation.answers import SUMMARY, answers_file, finish
from tasks.generation.engine import FAILURE, EngineOrders, Order, log_file
from tasks.generation.failures import engine_error
from tasks.generation.journal import fullest
from tasks.generation.questions import Question, read_questions
from tasks.generation.rounds import Share
from tasks.generation.settings import Benchmark, GenerationJob, GenerationSummary
from tasks.stores.source import FolderSource, sha256_of
from tasks.values import canonical_json, fingerprint

__all__ = ["generate", "job_fingerprint"]

POLL_SECONDS = 0.25
BENCHMARKS = get_args(Benchmark)
ENVIRONMENT = {
    # Deterministic scheduling, and one process less: vLLM's advice for reproducible answers.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SECRET = re.compile(r"(TOKEN|API_KEY|SECRET|SECRET_ACCESS_KEY|PASSWORD|AUTH_STRING)$")


def generate(
    jobs: Sequence[GenerationJob], *, advance: Callable[[int], None], python: str | None = None
) -> tuple[GenerationSummary, ...]:
    """Does the jobs that are not done yet; the summaries in the order of `jobs`.

    Args:
        advance: called with the number of answers that have landed since the last call, those of
            earlier runs included, so that the sum is the number of all instructions.
        python: another environment's interpreter (with vllm and pydantic); None: this one.

    Raises:
        InputError: a folder, the instructions, the template or the interpreter is not right.
        PermanentError: the model cannot be served with these settings; says what to set.
        RetryableError: the engine died; the same call continues behind the last whole batch.
    """
    orders = [_order(job) for job in jobs]
    if len({order.job.output for order in orders}) < len(orders):
        raise InputError("two generation jobs have the same output folder; give each its own")
    todo = []
    for order in orders:
        if done := _finished(order):
            advance(done.count)
        else:
            todo.append(order)
    if todo:
        _run_engines(todo, _interpreter(python), advance)
    return tuple(_summary_of(order) for order in orders)


def job_fingerprint(job: GenerationJob) -> str:
    """sha256 over what decides the answers, the model folder's listing and headers included."""
    identity = {
        "model": FolderSource(Path(job.model)).checkpoint.commit,
        "instructions": sha256_of(Path(job.instructions)),
        "benchmark": job.benchmark,
        "generator": job.generator,
    }
    return fingerprint(job.settings, identity)


def _order(job: GenerationJob) -> Order:
    read_questions(Path(job.instructions), job.benchmark)
    paths = {name: str(Path(getattr(job, name)).resolve()) for name in ("model", "instructions", "output")}
    absolute = job.model_copy(update=paths)
    return Order(job=absolute, fingerprint=job_fingerprint(absolute))


def _finished(order: Order) -> GenerationSummary | None:
    """The summary of a job that was done before, if its answers are still what it says."""
    folder = Path(order.job.output)
    answers = folder / answers_file(order.job.benchmark)
    if not (folder / SUMMARY).is_file() or not answers.is_file():
        return None
    summary = GenerationSummary.model_validate_json((folder / SUMMARY).read_bytes())
    whole = summary.job == order.fingerprint and summary.answers_sha256 == sha256_of(answers)
    return summary if whole else None


def _summary_of(order: Order) -> GenerationSummary:
    return GenerationSummary.model_validate_json((Path(order.job.output) / SUMMARY).read_bytes())


def _interpreter(python: str | None) -> str:
    """A path stands as it is from where the caller stands; a bare name is looked up in PATH."""
    if python and os.sep in python:
        return str(Path(python).expanduser().absolute())
    return python or sys.executable


def _run_engines(orders: list[Order], python: str, advance: Callable[[int], None]) -> None:
    """One life of the engine process; the error of the first job that it left undone."""
    for order in orders:
        _clear(Path(order.job.output))
        if found := fullest(Path(order.job.output), order.fingerprint):
            advance(sum(len(batch.answers) for batch in found[1].values()))
    with _engine(orders, python, Share()) as (process, progress):
        _follow(process, progress, advance)
    undone = [order for order in orders if finish(order.job, order.fingerprint, _questions(order)) is None]
    if undone:
        raise engine_error(undone[0].job, process.returncode)


def _questions(order: Order) -> tuple[Question, ...]:
    return read_questions(Path(order.job.instructions), order.job.benchmark)


def _clear(folder: Path) -> None:
    """What an earlier attempt left, but for the journal."""
    folder.mkdir(parents=True, exist_ok=True)
    left = [SUMMARY, FAILURE, *(answers_file(one) for one in BENCHMARKS)]
    for path in [*(folder / name for name in left), *folder.glob("engine*.log")]:
        path.unlink(missing_ok=True)


@contextmanager
def _engine(orders: list[Order], python: str, share: Share) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The running engine and the pipe of its progress; it ends with the block, however that ends."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="expo-engine-") as scratch:
        todo = EngineOrders(orders=tuple(orders), share=share, parent=os.getpid(), progress=writing)
        (Path(scratch) / "orders.json").write_bytes(canonical_json(todo))
        try:
            process = _start(
                python, Path(scratch), Path(orders[0].job.output) / log_file(share.engine), writing
            )
        finally:
            os.close(writing)
        try:
            yield process, reading
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(reading)


def _start(python: str, scratch: Path, log: Path, progress: int) -> subprocess.Popen[bytes]:
    """Starts the engine where it finds this project's `tasks`, and nothing else of this environment."""
    (scratch / "tasks").symlink_to(Path(tasks.__path__[0]).resolve())
    environment = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    path = [str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = ENVIRONMENT | environment | {"PYTHONPATH": os.pathsep.join(path)}
    command = [python, "-m", "tasks.generation.engine", str(scratch / "orders.json")]
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[progress],
                start_new_session=True,
            )
    except OSError as error:
        raise InputError(f"{python}: cannot be started as the engine's interpreter: {error}") from error


def _follow(process: subprocess.Popen[bytes], progress: int, advance: Callable[[int], None]) -> None:
    """Hands on the engine's progress until its end."""
    running = True
    while running:
        running = process.poll() is None  # asked before the read, so that nothing written is missed
        if select.select([progress], [], [], POLL_SECONDS if running else 0)[0]:
            if landed := len(os.read(progress, 1 << 16)):
                advance(landed)
            elif running:
                process.wait()
