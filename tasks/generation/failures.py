"""Why an engine ended before its work: its own refusal, its log, or the signal that killed it."""

import re
import signal
from pathlib import Path

from tasks import errors
from tasks.errors import ExpoError, PermanentError, RetryableError
from tasks.generation.engine import FAILURE, LOG, Failure
from tasks.generation.settings import GenerationJob

__all__ = ["engine_error"]

TAIL_LINES = 20
DOES_NOT_FIT = (
    "the model does not fit: set a larger tensor_parallel_size, another gpu_memory_utilization, "
    "or a smaller max_model_len"
)
# What vLLM says when the same call must fail again, and what to do about it.
PERMANENT = {
    r"out of memory": DOES_NOT_FIT,
    r"No available memory for the cache blocks": DOES_NOT_FIT,
    r"KV cache .*(needed|larger than)": DOES_NOT_FIT,
    r"is less than desired (GPU|CPU) memory utilization": DOES_NOT_FIT,
    r"allocation is less than requested memory for kv": DOES_NOT_FIT,
    r"max_model_len .* is greater than the derived": "set a max_model_len that the checkpoint allows",
    r"trust_remote_code=True": "the checkpoint brings its own code: allow it with trust_remote_code",
    r"(architectures .* (are not|not) supported|does not recognize this architecture|has no vLLM impl)": (
        "this vLLM does not know the architecture: use a newer one (setting `python`), or another model"
    ),
    r"No module named 'vllm'": (
        "the interpreter has no vLLM: install this project's extra `cpu` or `gpu`, or name another "
        "environment's interpreter"
    ),
    r"SafetensorError|size mismatch|not initialized from checkpoint": "the checkpoint's weights are damaged",
}


def engine_error(job: GenerationJob, status: int) -> ExpoError:
    """The error for a job that an engine with this exit status (negative: a signal) left undone."""
    folder = Path(job.output)
    where = f"generation of {job.generator} from {job.model}"
    if (folder / FAILURE).is_file():
        failure = Failure.model_validate_json((folder / FAILURE).read_bytes())
        kind: type[ExpoError] = getattr(errors, failure.error)
        return kind(f"{where}: {failure.message}")
    log = (folder / LOG).read_text(errors="replace") if (folder / LOG).is_file() else ""
    tail = "\n".join(log.splitlines()[-TAIL_LINES:])
    for pattern, advice in PERMANENT.items():
        if match := re.search(pattern, log):
            return PermanentError(f"{where}: {advice} ({match.group(0)!r} in {folder / LOG})\n{tail}")
    return RetryableError(f"{where}: the engine ended {_how(status)}; its log is {folder / LOG}\n{tail}")


def _how(status: int) -> str:
    number = -status if status < 0 else status - 128
    if number == signal.SIGKILL:
        return "by signal 9 (killed; perhaps the machine is out of memory)"
    if 0 < number < signal.NSIG:
        return f"by signal {number} ({signal.strsignal(number)})"
    return f"with exit status {status}"
