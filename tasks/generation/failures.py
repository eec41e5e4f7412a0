"""Why an engine ended early: its own refusal, its log, or the signal that killed it."""

import re
import signal
from pathlib import Path
from typing import NamedTuple

from tasks.core import errors
from tasks.core.errors import CorruptError, ExpoError, PermanentError, RetryableError
from tasks.generation.engine import FAILURE, Failure
from tasks.generation.settings import GenerationJob

__all__ = ["engine_error"]

TAIL_LINES = 20
# What vLLM 0.32 says of one that it has not ended itself.
DEAD_WORKER = re.compile(r"Worker proc \S+ died unexpectedly \(exit code: (-?\d+)\)")


class Known(NamedTuple):
    """What vLLM 0.32 or transformers 5 says when the same call must fail again, and what to do."""

    pattern: str
    kind: type[PermanentError]
    advice: str


KNOWN = [
    Known(
        r"CUDA out of memory|No available memory for the cache blocks|KV\s+cache is needed",
        PermanentError,
        "the model does not fit: set a larger tensor_parallel_size, another gpu_memory_utilization, "
        "or a smaller max_model_len",
    ),
    Known(
        r"on startup is less than (desired|the engine's)",
        PermanentError,
        "another process holds the GPU's memory: end it, or set a smaller gpu_memory_utilization",
    ),
    Known(
        r"DefaultCPUAllocator: (can't allocate|not enough) memory|^MemoryError",
        PermanentError,
        "the machine's memory is too small for the model: use a GPU, a machine with more, or set a smaller "
        "max_model_len or VLLM_CPU_KVCACHE_SPACE (GiB)",
    ),
    Known(
        r"World size .* is larger than the number of|must be divisible by tensor parallel size",
        PermanentError,
        "set a tensor_parallel_size that the machine's GPUs and the model's heads allow, or for several "
        "nodes a pipeline_parallel_size, with RAY_ADDRESS in the worker's environment",
    ),
    Known(
        r"Pipeline parallelism is not supported for this model",
        PermanentError,
        "leave pipeline_parallel_size at 1, and set a larger tensor_parallel_size",
    ),
    Known(
        r"max_model_len .* is greater than the derived",
        PermanentError,
        "set a max_model_len that the checkpoint's config allows, or leave it out",
    ),
    Known(
        r"trust_remote_code=True",
        PermanentError,
        "the checkpoint brings its own code; set trust_remote_code if you trust it",
    ),
    Known(
        r"Model architectures .* are not supported|does not recognize this architecture",
        PermanentError,
        "this vLLM does not know the architecture: name an interpreter with a newer one, or another model",
    ),
    Known(
        r"SafetensorError|not initialized from checkpoint|Cannot find any model weights",
        CorruptError,
        "the checkpoint's weights are damaged or incomplete: get them again",
    ),
    Known(
        r"_pydantic_core\.ValidationError",
        PermanentError,
        "vLLM refuses the checkpoint's config or these settings, for the reason that its log gives",
    ),
    Known(
        r"No module named 'vllm'",
        PermanentError,
        "the interpreter has no vLLM: install the extra `cpu` or `gpu`, or name another environment's",
    ),
]


def engine_error(job: GenerationJob, status: int) -> ExpoError:
    """The error for a job that was left undone by an engine with this exit status.

    Args:
        status: as of `subprocess`: negative for a signal; 128 and the signal where a job's
            own process was killed.
    """
    folder = Path(job.output)
    where = f"generation of {job.generator} from {job.model}"
    if (folder / FAILURE).is_file():
        failure = Failure.model_validate_json((folder / FAILURE).read_bytes())
        kind: type[ExpoError] = getattr(errors, failure.error)
        return kind(f"{where}: {failure.message}")
    logs = sorted(folder.glob("engine*.log"))
    log = "\n".join(path.read_text(errors="replace") for path in logs)
    seen = ", ".join(map(str, logs))
    tail = "\n".join(log.splitlines()[-TAIL_LINES:])
    # Only what Python raised counts: the ordinary log mentions the same words harmlessly.
    raised = log[log.find("Traceback (most recent call last)") :] if "Traceback" in log else ""
    for known in KNOWN:
        if line := re.search(rf"^.*({known.pattern}).*$", raised, re.MULTILINE):
            return known.kind(f"{where}: {known.advice}; see {seen}: {line.group().strip()}")
    worker = DEAD_WORKER.search(log)
    what, ending = ("a worker of the engine", int(worker[1])) if worker else ("the engine", status)
    return RetryableError(f"{where}: {what} ended {_how(ending)}; see {seen}\n{tail}")


def _how(status: int) -> str:
    number = -status if status < 0 else status - 128
    if number == signal.SIGKILL:
        return "by signal 9 (killed; perhaps the machine ran out of memory)"
    if 0 < number < signal.NSIG:
        return f"by signal {number} ({signal.strsignal(number)})"
    return f"with exit status {status}"
