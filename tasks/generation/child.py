"""A module of this project in a process of its own, under any interpreter: engines and servers."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import tasks
from tasks.core.errors import InputError

__all__ = ["start_module"]

ENVIRONMENT = {
    # Deterministic scheduling, and one process less: vLLM's advice for reproducible answers.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SECRET = re.compile(r"(TOKEN|API_KEY|SECRET|SECRET_ACCESS_KEY|PASSWORD|AUTH_STRING)$")


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

    It leads a session of its own, so that its end takes its workers along; secrets stay here.

    Args:
        scratch: an empty folder for the process to run in.
        log: gets its output, behind what is there.
        environment: variables in addition.

    Raises:
        InputError: the interpreter cannot be started.
    """
    (scratch / "tasks").symlink_to(Path(tasks.__path__[0]).resolve())
    inherited = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    path = [str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                [python, "-m", module, *arguments],
                cwd=scratch,
                env=ENVIRONMENT | inherited | {"PYTHONPATH": os.pathsep.join(path)} | dict(environment or {}),
                stdin=stdin,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                start_new_session=True,
            )
    except OSError as error:
        raise InputError(f"{python}: cannot be started as the interpreter of {module}: {error}") from error
