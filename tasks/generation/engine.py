"""The engine process: imports vLLM once, then does each job in a forked child.

    python -m tasks.generation.engine ORDERS.json

The end of a child frees everything that a model held (memory, GPU, worker processes), and
the next job starts without the ten seconds of the import. Importing vLLM must not touch CUDA,
or a fork could not use it; vLLM promises that, and PYTORCH_NVML_BASED_CUDA_CHECK keeps torch's
own question ("is there a GPU?") from doing it.

This module runs under any interpreter that has vllm and pydantic: `tasks.generation.process`
starts it, and it imports nothing else of the project but values and errors.
"""

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import ExpoError, InputError
from tasks.generation.answers import ANSWERS, SUMMARY, is_looping, model_outputs, summarise, write_whole
from tasks.generation.journal import Answer, Batch, Header, Journal
from tasks.generation.prompts import PromptSet, read_instructions, render_prompts, require_room
from tasks.generation.settings import GenerationJob, GenerationSettings
from tasks.values import Value, canonical_json

if TYPE_CHECKING:
    from vllm import LLM, CompletionOutput, RequestOutput

__all__ = ["FAILURE", "JOURNAL", "LOG", "EngineOrders", "Failure", "Order", "main"]

JOURNAL = "answers.jsonl"
FAILURE = "failure.json"
LOG = "engine.log"
PR_SET_PDEATHSIG = 1
# On a CPU: one process, one thread (two are five to ten times slower on a small model), 1 GiB of cache.
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class Order(Value):
    """A job and its fingerprint (which only the caller, who may read the weights, can know)."""

    job: GenerationJob
    fingerprint: str


class EngineOrders(Value):
    """What the engine is told: the jobs, its parent's process id, and the file descriptor of a
    pipe that gets one byte for each answer that has landed."""

    orders: tuple[Order, ...]
    parent: int
    progress: int


class Failure(Value):
    """An error of this project's tree on its way from the engine to its caller."""

    error: str
    message: str


def main(path: str) -> int:
    """Does the jobs in order; the exit status of the first that fails, else 0."""
    orders = EngineOrders.model_validate_json(Path(path).read_bytes())
    _end_with(orders.parent)
    on_cpu = _prepare_environment()
    from transformers import AutoTokenizer  # noqa: F401  (paid once, before the forks)
    from vllm import LLM  # noqa: F401

    if on_cpu:
        import vllm.v1.worker.cpu_worker  # noqa: F401
    gc.freeze()  # or each child would look through all that was imported, again and again
    for order in orders.orders:
        if status := _in_child(partial(_do, order, on_cpu, orders.progress)):
            return status
    return 0


def _end_with(parent: int) -> None:
    """Ties this process's life to its parent's: the kernel kills it when the parent dies, or the
    parent's thread that started it (which waits for it all the while)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def _prepare_environment() -> bool:
    """Sets what vLLM reads from the environment (the user's own variables win); whether on a CPU."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    on_cpu = not torch.cuda.is_available()
    for name, value in (CPU_ENVIRONMENT if on_cpu else {}).items():
        os.environ.setdefault(name, value)
    if on_cpu:
        # torch has read OMP_NUM_THREADS already, when it was imported.
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return on_cpu


def _in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a forked child; its exit status, or 128 + the signal that ended it.

    What `work` returns lives until the child's end: nobody waits until it is taken apart.
    """
    engine = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _end_with(engine)
            _kept = work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


def _do(order: Order, on_cpu: bool, progress: int) -> "LLM | None":
    """One job, with its log and, if it is refused, its failure in the job's folder."""
    folder = Path(order.job.output)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        return _generate(order, folder, on_cpu, partial(_land, progress))
    except ExpoError as error:
        failure = Failure(error=type(error).__name__, message=str(error))
        write_whole(folder / FAILURE, canonical_json(failure))
        raise


def _land(progress: int, count: int) -> None:
    os.write(progress, b"." * count)


def _generate(order: Order, folder: Path, on_cpu: bool, landed: Callable[[int], None]) -> "LLM | None":
    """Answers what the journal lacks, then writes answers.json, and summary.json as the last.

    Returns:
        The model if it was needed and lives in this process alone.
    """
    import vllm

    job, engine, model = order.job, f"vllm {vllm.__version__}", None
    items = read_instructions(Path(job.instructions))
    prompts = _prompts(job, [item["instruction"] for item in items])
    with Journal(folder / JOURNAL, Header(job=order.fingerprint, engine=engine)) as journal:
        landed(len(journal.answers))
        if len(journal.answers) < len(items):
            model = _answer_rest(job, prompts, journal, on_cpu, landed)
        answers = model_outputs(job, items, journal)
        summary = summarise(order.fingerprint, engine, journal, prompts, answers)
    write_whole(folder / ANSWERS, answers)
    write_whole(folder / SUMMARY, summary.model_dump_json(indent=1).encode() + b"\n")
    return model if job.settings.tensor_parallel_size == 1 else None


def _prompts(job: GenerationJob, instructions: list[str]) -> PromptSet:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            job.model, trust_remote_code=job.settings.trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"the checkpoint's tokenizer cannot be loaded: {error}") from error
    return render_prompts(tokenizer, instructions, job.settings)


def _answer_rest(
    job: GenerationJob, prompts: PromptSet, journal: Journal, on_cpu: bool, landed: Callable[[int], None]
) -> "LLM":
    """Continues behind the journal's last batch, always cut at the same places."""
    size = job.settings.batch_size
    model = _load(job, on_cpu)
    require_room(prompts.token_ids, model.model_config.max_model_len)
    for number in range(len(journal.batches), -(-len(prompts.token_ids) // size)):
        started = time.monotonic()
        token_ids = prompts.token_ids[number * size : (number + 1) * size]
        answers = _answer(model, token_ids, job.settings, prompts.stop_token_ids, number * size, landed)
        journal.append(Batch(batch=number, seconds=time.monotonic() - started, answers=answers))
    return model


def _load(job: GenerationJob, on_cpu: bool) -> "LLM":
    """vLLM with the job's model in it."""
    from vllm import LLM

    settings = job.settings
    return LLM(
        job.model,
        dtype=settings.dtype,
        seed=settings.sampling.seed,
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.tensor_parallel_size,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        trust_remote_code=settings.trust_remote_code,
        enforce_eager=on_cpu,
        # A prompt in pieces makes vLLM rewind the request's random stream, which torch refuses on a CPU.
        enable_chunked_prefill=not on_cpu,
        # A restart must compute each prompt as the first run did, not find half of it cached.
        enable_prefix_caching=False,
    )


def _answer(
    model: "LLM",
    token_ids: tuple[tuple[int, ...], ...],
    settings: GenerationSettings,
    stop: tuple[int, ...],
    first: int,
    landed: Callable[[int], None],
) -> tuple[Answer, ...]:
    """The answers to one batch of prompts, of which the first has position `first` of all."""
    from vllm import SamplingParams, TokensPrompt

    sampling = settings.sampling.model_dump()
    seed = sampling.pop("seed") + first
    model.enqueue(
        [TokensPrompt(prompt_token_ids=[*ids]) for ids in token_ids],
        [SamplingParams(**sampling, seed=seed + i, stop_token_ids=[*stop]) for i in range(len(token_ids))],
        use_tqdm=False,
    )
    finished: list[RequestOutput] = []
    while model.llm_engine.has_unfinished_requests():
        ended = [output for output in model.llm_engine.step() if output.finished]
        finished += ended
        landed(len(ended))
    # Requests get rising numbers as they are enqueued; they end in any order.
    return tuple(_as_answer(out.outputs[0]) for out in sorted(finished, key=lambda out: int(out.request_id)))


def _as_answer(completion: "CompletionOutput") -> Answer:
    return Answer(
        output=completion.text,
        tokens=len(completion.token_ids),
        finish_reason=str(completion.finish_reason),
        looping=is_looping(completion.token_ids),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
