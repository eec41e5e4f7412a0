"""The engine processes of a generation: started together, followed, and ended with their caller."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.core.child import start_module
from tasks.core.values import canonical_json
from tasks.generation.devices import VISIBLE
from tasks.generation.engine import EngineJob, EngineRequest, log_file
from tasks.generation.rounds import Rank
from tasks.stores.scratch import scratch_folder

__all__ = ["run_engines"]

POLL_SECONDS = 0.25
ENGINE = "tasks.generation.engine"


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
                stack.enter_context(_engine(jobs, Rank(number, len(gpus)), group, python, writing))
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
    jobs: Sequence[EngineJob], rank: Rank, gpus: str | None, python: str, progress: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A running engine, which ends with the block, however that ends."""
    with scratch_folder() as scratch:
        request = EngineRequest(jobs=tuple(jobs), rank=rank, parent=os.getpid(), progress=progress)
        (scratch / "request.json").write_bytes(canonical_json(request))
        log = Path(jobs[0].job.output) / log_file(rank.rank)
        process = start_module(
            python,
            ENGINE,
            [str(scratch / "request.json")],
            scratch=scratch,
            log=log,
            environment={} if gpus is None else {VISIBLE: gpus},
            pass_fds=[progress],
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


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
