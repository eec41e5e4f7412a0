"""Child processes: what they are given of this environment, and how they end with their parent.

A child gets the variables of an allow-list alone, so that a key of a judge or of a store never
reaches an engine that runs a stranger's model.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import NoReturn

import tasks
from tasks.core.append_file import PRIVATE
from tasks.core.errors import InputError

__all__ = ["ENGINE", "child_environment", "exit_with_parent", "start_module"]

DEFAULTS = {
    # Deterministic scheduling, and one process less: vLLM's advice for reproducible answers.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
ANY_CHILD = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|XDG_\w+|VIRTUAL_ENV|DO_NOT_TRACK"
    r"|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_\w+|PYTHON\w+|COVERAGE_\w+|EXPO_CACHE"
)
ENGINE = re.compile(
    r"HF_(?!ENDPOINT)\w+|(CUDA|NVIDIA|NCCL|VLLM|TRANSFORMERS|TOKENIZERS|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|INDUCTOR"
    r"|FLASHINFER|OMP|KMP|GOMP|MKL|OPENBLAS|NUMBA|RAY|GLOO|ROCM|ROCR|HIP|HSA|AMD|TPU|XLA)_\w+"
    r"|CC|CXX|CUDAHOSTCXX|MALLOC_\w+"
)
SECRET = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?|AUTH_STRING)$")


def child_environment(allowed: re.Pattern[str]) -> dict[str, str]:
    """What any child needs of this environment, and the allowed names; never one that names a secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if (ANY_CHILD.fullmatch(name) or allowed.fullmatch(name)) and not SECRET.search(name)
    }


def start_module(
    python: str,
    module: str,
    arguments: Sequence[str],
    *,
    scratch: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Starts `python -m module`, where it finds this project's `tasks` and nothing else of this environment.

    It leads a session of its own, so that its end takes its workers along.

    Args:
        scratch: an empty folder for the process to run in, and for its temporary files and sockets.
        log: gets its output, behind what is there; made readable for its owner alone.
        environment: variables in addition to those that engines may have.

    Raises:
        InputError: the interpreter cannot be started.
    """
    (scratch / "tasks").symlink_to(Path(tasks.__path__[0]).resolve())
    path = [str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE), "ab") as output:
            return subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=scratch,
                env=DEFAULTS
                | {"TORCHINDUCTOR_CACHE_DIR": _compiled()}
                | child_environment(ENGINE)
                | {"PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(scratch)}
                | dict(environment or {}),
                stdin=stdin,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
            )
    except OSError as error:
        raise InputError(f"{python}: cannot be started as the interpreter of {module}: {error}") from error


def _compiled() -> str:
    """Where torch keeps what it compiles: a place that outlives the child's temporary files."""
    return str(Path(tempfile.gettempdir(), f"torchinductor_{os.getuid()}"))


def exit_with_parent() -> None:
    """Ends this process when its standard input ends: a pipe that its parent holds open while it lives."""
    Thread(target=_exit_at_end_of_input, daemon=True).start()


def _exit_at_end_of_input() -> NoReturn:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)
