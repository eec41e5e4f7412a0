"""The engine processes of a generation: started together, followed, and ended with their caller."""

import os
import select
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tasks.generation.devices import VISIBLE
from tasks.generation.engine import EngineJob, EngineRequest, log_file
from tasks.generation.forked import ForkedEngine, forked_engine
from tasks.generation.rounds import Rank

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
            engines = [
                stack.enter_context(_engine(jobs, Rank(number, len(gpus)), group, python, writing))
                for number, group in enumerate(gpus)
            ]
        finally:
            os.close(writing)
        _follow(engines, reading, advance)
        statuses = [engine.wait() for engine in engines]
    return next(filter(None, statuses), 0)


def _engine(
    jobs: Sequence[EngineJob], rank: Rank, gpus: str | None, python: str, progress: int
) -> AbstractContextManager[ForkedEngine]:
    return forked_engine(
        ENGINE,
        EngineRequest(jobs=tuple(jobs), rank=rank),
        python=python,
        log=Path(jobs[0].job.output) / log_file(rank.rank),
        descriptors=[progress],
        environment={} if gpus is None else {VISIBLE: gpus},
    )


def _follow(engines: Sequence[ForkedEngine], progress: int, advance: Callable[[int], None]) -> None:
    """Hands on the engines' progress until the end of them all."""
    running = True
    while running:
        # asked before the read, so that nothing written is missed
        running = any(engine.poll() is None for engine in engines)
        if select.select([progress], [], [], POLL_SECONDS if running else 0)[0]:
            if count := len(os.read(progress, 1 << 16)):
                advance(count)
            elif running:  # every engine has closed its end
                return
