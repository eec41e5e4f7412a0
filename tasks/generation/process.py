"""Answers of models to instructions, by vLLM in a process of its own.

    summaries = generate([original, expo], advance=progress.advance)

One engine process serves the jobs one after another; a machine with GPUs for several has as many
of them, and these share the batches. They end with their caller, and a call that was cut short
continues behind the whole batches of each job's journal.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.values import fingerprint
from tasks.generation.answer_journal import most_complete
from tasks.generation.answers import SUMMARY, answers_file, finish, require_answered
from tasks.generation.devices import gpu_groups
from tasks.generation.endpoint import answer_by_endpoint
from tasks.generation.engine import FAILURE, EngineJob
from tasks.generation.failures import engine_error
from tasks.generation.launch import run_engines
from tasks.generation.questions import Question, read_questions
from tasks.generation.rounds import batches_of
from tasks.generation.settings import GenerationJob, GenerationSummary
from tasks.stores.disk import sha256_of
from tasks.stores.folder_source import FolderSource

__all__ = ["generate", "job_fingerprint"]

Advance = Callable[[int], None]


def generate(
    jobs: Sequence[GenerationJob],
    *,
    advance: Advance,
    python: str | None = None,
    engines: int | None = None,
) -> tuple[GenerationSummary, ...]:
    """Does the jobs that are not done yet; the summaries in the order of `jobs`.

    Args:
        advance: called with the number of answers that have come since the last call, those of
            earlier runs included, so that the sum is the number of all answers.
        python: another environment's interpreter (with vllm and pydantic); None: this one.
        engines: how many processes share the batches; None: one for each group of
            tensor × pipeline parallel GPUs. Their number changes no answer.

    Raises:
        InputError: a folder, the instructions, the template or the interpreter is not right.
        PermanentError: the model cannot be served with these settings, or an endpoint gave too few
            answers; says what to set.
        RetryableError: an engine died, or the endpoint does not answer; the same call continues
            behind the whole batches.
    """
    engine_jobs = [_engine_job(job) for job in jobs]
    if len({engine_job.job.output for engine_job in engine_jobs}) < len(engine_jobs):
        raise InputError("two generation jobs have the same output folder; give each its own")
    todo = []
    for engine_job in engine_jobs:
        if done := _finished(engine_job) or _finish(engine_job):
            advance(done.count)
        else:
            todo.append(engine_job)
    for engine_job in todo:
        _clear(engine_job.job)
        if found := most_complete(Path(engine_job.job.output), engine_job.fingerprint):
            advance(sum(len(batch.answers) for batch in found[1].values()))
        if engine_job.job.endpoint:
            answer_by_endpoint(engine_job.job, engine_job.fingerprint, advance)
    local = [engine_job for engine_job in todo if not engine_job.job.endpoint]
    status = run_engines(local, _gpus(local, engines), _interpreter(python), advance) if local else 0
    summaries = {
        engine_job.job.output: _finished(engine_job) or _finish(engine_job) for engine_job in engine_jobs
    }
    for engine_job in engine_jobs:
        if summaries[engine_job.job.output] is None:
            raise engine_error(engine_job.job, status)
    for job, summary in zip(jobs, summaries.values(), strict=True):
        if summary:
            require_answered(job.generator, job.output, summary.failures, summary.count, job.max_failed)
    return tuple(summary for summary in summaries.values() if summary)


def job_fingerprint(job: GenerationJob) -> str:
    """sha256 over what decides the answers, the model folder's listing and headers included."""
    identity = {
        "model": FolderSource(Path(job.model)).checkpoint.commit if job.endpoint is None else job.model,
        "instructions": sha256_of(Path(job.instructions)),
        "benchmark": job.benchmark,
        "generator": job.generator,
    }
    served = job.endpoint.model_dump(exclude={"api_key_env"}) if job.endpoint else {}
    return fingerprint(job.settings, identity, served)


def _engine_job(job: GenerationJob) -> EngineJob:
    _questions(job)  # refuses what cannot be read
    names = ("instructions", "output") if job.endpoint else ("model", "instructions", "output")
    absolute = job.model_copy(update={name: str(Path(getattr(job, name)).resolve()) for name in names})
    return EngineJob(job=absolute, fingerprint=job_fingerprint(absolute))


def _finished(engine_job: EngineJob) -> GenerationSummary | None:
    """The summary of a job that was done before, if its answers are still what it says."""
    folder = Path(engine_job.job.output)
    answers = folder / answers_file(engine_job.job.benchmark, engine_job.job.form)
    if not (folder / SUMMARY).is_file() or not answers.is_file():
        return None
    summary = GenerationSummary.model_validate_json((folder / SUMMARY).read_bytes())
    whole = summary.job == engine_job.fingerprint and summary.answers_sha256 == sha256_of(answers)
    return summary if whole else None


def _finish(engine_job: EngineJob) -> GenerationSummary | None:
    """Writes the answers of a job whose journal is complete."""
    return finish(engine_job.job, engine_job.fingerprint, _questions(engine_job.job))


def _questions(job: GenerationJob) -> tuple[Question, ...]:
    return read_questions(Path(job.instructions), job.form)


def _interpreter(python: str | None) -> str:
    """A path stands as it is from where the caller stands; a bare name is looked up in PATH."""
    if python and os.sep in python:
        return str(Path(python).expanduser().absolute())
    return python or sys.executable


def _gpus(engine_jobs: Sequence[EngineJob], engines: int | None) -> list[str | None]:
    """The GPUs of each engine; no more engines than the fullest turn has batches."""
    settings = [engine_job.job.settings for engine_job in engine_jobs]
    groups = gpu_groups(max(engine.workers for engine in settings))
    counts = [len(_questions(engine_job.job)) for engine_job in engine_jobs]
    useful = max(batches_of(count, engine) for count, engine in zip(counts, settings, strict=True))
    wanted = min(len(groups) if engines is None else engines, useful)
    if wanted <= 1:
        return [None]
    return [groups[number] if number < len(groups) else None for number in range(wanted)]


def _clear(job: GenerationJob) -> None:
    """Removes what an earlier attempt left, except the journal."""
    folder = Path(job.output)
    folder.mkdir(parents=True, exist_ok=True)
    left = [folder / SUMMARY, folder / FAILURE, *folder.glob("engine*.log")]
    for path in [*left, folder / answers_file(job.benchmark, job.form)]:
        path.unlink(missing_ok=True)
