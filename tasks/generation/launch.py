"""The engine processes of a generation: started together, followed, and ended with their caller."""

import os
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tasks
from tasks.core.errors import InputError
from tasks.core.values import canonical_json
from tasks.generation.devices import VISIBLE
from tasks.generation.engine import EngineJob, EngineRequest, log_file
from tasks.generation.rounds import Share

__all__ = ["ENVIRONMENT", "SECRET", "run_engines", "start_engine"]

POLL_SECONDS = 0.25
ENGINE = "tasks.generation.engine"
ENVIRONMENT = {
    # Deterministic scheduling, and one process less: vLLM's advice for reproducible answers.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SECRET = re.compile(r"(TOKEN|API_KEY|SECRET|SECRET_ACCESS_KEY|PASSWORD|AUTH_STRING)$")


def run_engines(
    jobs: Sequence[EngineJob], gpus: Sequence[str | None], python: str, advance: Callable[[int], None]
) -> int:
    """Runs one engine process per GPU group to completion; the first exit status that is not 0, else 0.

    Args:
        gpus: the GPUs that each engine sees, as CUDA_VISIBLE_DEVICES; None: what this process sees.
        advance: called with the number of answers that have come since the last call.

    Raises:
        InputError: the interpreter cannot be started.
    """
    reading, writing = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        try:
            processes = [
                stack.enter_context(_engine(jobs, Share(number, len(gpus)), group, python, writing))
                for number, group in enumerate(gpus)
            ]
        finally:
            os.close(writing)
        _follow(processes, reading, advance)
        for process in processes:
            process.wait()
    return next((process.returncode for process in processes if process.returncode), 0)


@contextmanager
def _engine(
    jobs: Sequence[EngineJob], share: Share, gpus: str | None, python: str, progress: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A running engine, which ends with the block, however that ends."""
    with tempfile.TemporaryDirectory(prefix="expo-engine-") as scratch:
        request = EngineRequest(jobs=tuple(jobs), share=share, parent=os.getpid(), progress=progress)
        (Path(scratch) / "request.json").write_bytes(canonical_json(request))
        log = Path(jobs[0].job.output) / log_file(share.engine)
        process = start_engine(python, Path(scratch), ENGINE, log, gpus=gpus, pass_fd=progress)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start_engine(
    python: str,
    scratch: Path,
    module: str,
    log: Path,
    *,
    gpus: str | None = None,
    pass_fd: int,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Starts `module` with scratch/request.json, where it finds this project's `tasks` and nothing else of
    this environment.

    Args:
        pass_fd: a file descriptor of this process that the engine writes to.

    Raises:
        InputError: the interpreter cannot be started.
    """
    (scratch / "tasks").symlink_to(Path(tasks.__path__[0]).resolve())
    environment = {name: value for name, value in os.environ.items() if not SECRET.search(name)}
    path = [str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = ENVIRONMENT | environment | {"PYTHONPATH": os.pathsep.join(path)}
    if gpus is not None:
        environment[VISIBLE] = gpus
    command = [python, "-m", module, str(scratch / "request.json")]
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=scratch,
                env=environment,
                stdin=stdin,
                stdout=output,
                stderr=output,
                pass_fds=[pass_fd],
                start_new_session=True,
            )
    except OSError as error:
        raise InputError(f"{python}: cannot be started as the engine's interpreter: {error}") from error


def _follow(
    processes: Sequence["subprocess.Popen[bytes]"], progress: int, advance: Callable[[int], None]
) -> None:
    """Hands on the engines' progress until the end of them all."""
    running = True
    while running:
        # asked before the read, so that nothing written is missed
        running = any(process.poll() is None for process in processes)
        if select.select([progress], [], [], POLL_SECONDS if running else 0)[0]:
            if count := len(os.read(progress, 1 << 16)):
                advance(count)
            elif running:  # every engine has closed its end
                return
