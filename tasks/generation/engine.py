"""The engine's process: answers jobs one after another, each in a forked child.

The end of a child frees everything that a model held (memory, GPU, worker processes).
`tasks.generation.fork_server` has imported vLLM before it forks an engine.
"""

import ctypes
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.append_file import PRIVATE
from tasks.core.errors import ExpoError, InputError
from tasks.core.values import Value, canonical_json
from tasks.generation.answer_journal import Header
from tasks.generation.answers import write_whole
from tasks.generation.prompts import render_prompts
from tasks.generation.questions import read_questions
from tasks.generation.remote_code import require_own_code
from tasks.generation.rounds import Rank, answer_batches
from tasks.generation.settings import GenerationJob
from tasks.generation.vllm_model import VllmModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "FAILURE",
    "EngineJob",
    "EngineRequest",
    "Failure",
    "end_with",
    "load_tokenizer",
    "log_file",
    "main",
    "prepare_environment",
]

FAILURE = "failure.json"
PR_SET_PDEATHSIG = 1
# On a CPU: one thread a worker (two are five to ten times slower on a small model), 1 GiB of cache, and
# nothing compiled: what ranks log-probabilities takes a minute of C++, where there is a compiler at all.
CPU_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class EngineJob(Value):
    """A job and its fingerprint (which only the caller, who may read the weights, can know)."""

    job: GenerationJob
    fingerprint: str


class EngineRequest(Value):
    """The jobs, and this engine's rank among those that share them."""

    jobs: tuple[EngineJob, ...]
    rank: Rank = Rank()


class Failure(Value):
    """An error of this project's tree on its way from the engine to its caller."""

    error: str
    message: str


def log_file(engine: int) -> str:
    """The name of an engine's log in a job's folder."""
    return f"engine.{engine}.log" if engine else "engine.log"


def main(path: str, progress: int) -> int:
    """Does the jobs in order; the exit status of the first that fails, else 0.

    Args:
        path: of the request.
        progress: the descriptor of a pipe that gets one byte for each answer.
    """
    request = EngineRequest.model_validate_json(Path(path).read_bytes())
    on_cpu = prepare_environment()
    for engine_job in request.jobs:
        if status := _in_child(partial(_do, engine_job, request.rank, on_cpu, progress)):
            return status
    return 0


def end_with(parent: int) -> None:
    """Ties the life of a fork to its parent's: the kernel kills it when the parent's thread that forked
    it, which is the parent's main one, ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        os._exit(1)


def prepare_environment() -> bool:
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
            end_with(engine)
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


def _do(engine_job: EngineJob, rank: Rank, on_cpu: bool, progress: int) -> VllmModel | None:
    """One job, with its log and, if it is refused, its failure in the job's folder."""
    folder = Path(engine_job.job.output)
    log = os.open(folder / log_file(rank.rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        return _generate(engine_job, folder, rank, on_cpu, partial(_land, progress))
    except ExpoError as error:
        failure = Failure(error=type(error).__name__, message=str(error))
        write_whole(folder / FAILURE, canonical_json(failure))
        raise


def _land(progress: int, count: int) -> None:
    os.write(progress, b"." * count)


def _generate(
    engine_job: EngineJob, folder: Path, rank: Rank, on_cpu: bool, on_progress: Callable[[int], None]
) -> VllmModel | None:
    """Answers what the journal lacks of the batches of this rank.

    Returns:
        The model if it was needed and lives in this process alone.
    """
    import vllm

    job = engine_job.job
    questions = read_questions(Path(job.instructions), job.form)
    tokenizer = load_tokenizer(job)
    prompts = render_prompts(tokenizer, [question.turns[0] for question in questions], job.settings)
    header = Header(
        job=engine_job.fingerprint,
        engine=f"vllm {vllm.__version__}",
        chat_template_sha256=hashlib.sha256(prompts.template.encode()).hexdigest(),
        stop_token_ids=prompts.stop_token_ids,
        first_prompt_ids=prompts.token_ids[0],
    )
    load = partial(VllmModel, job, tokenizer, prompts, on_cpu)
    model = answer_batches(folder, header, questions, job.settings, rank, load, on_progress)
    return model if model is not None and model.is_in_process else None


def load_tokenizer(job: GenerationJob) -> "PreTrainedTokenizerBase":
    """The tokenizer of the job's model, from its folder alone.

    Raises:
        InputError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    if job.settings.trust_remote_code:
        require_own_code(Path(job.model))
    try:
        return AutoTokenizer.from_pretrained(
            job.model, trust_remote_code=job.settings.trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"the checkpoint's tokenizer cannot be loaded: {error}") from error
