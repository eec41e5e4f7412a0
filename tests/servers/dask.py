"""A real Dask cluster on loopback: a scheduler and workers with one thread and one "GPU" each."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.servers.ports import reserve
from tests.servers.prefect import end
from tests.waiting import LIMIT

__all__ = ["DaskCluster", "serve_dask"]


class DaskCluster(NamedTuple):
    """Where the scheduler listens, and the workers' processes (each watched by a nanny, or not)."""

    address: str
    workers: "list[subprocess.Popen[bytes]]"


@contextmanager
def serve_dask(
    folder: Path, environment: dict[str, str], workers: int = 2, nanny: bool = True
) -> Iterator[DaskCluster]:
    """Serves until the block ends; a worker with a nanny is started again when it dies."""
    from distributed import Client

    folder.mkdir(parents=True, exist_ok=True)
    address = f"tcp://127.0.0.1:{reserve()}"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    options = ["--host", "127.0.0.1", "--nthreads", "1", "--resources", "GPU=1", "--no-dashboard"]
    options += ["--nanny" if nanny else "--no-nanny"]
    started = [_start(scheduler, folder / "scheduler.log", environment)]
    try:
        for number in range(workers):
            started.append(
                _start(["worker", address, *options], folder / f"worker-{number}.log", environment)
            )
        deadline = time.monotonic() + LIMIT
        with Client(address, timeout=LIMIT) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(workers, timeout=max(deadline - time.monotonic(), 1))
        yield DaskCluster(address, started[1:])
    finally:
        for process in reversed(started):
            end(process)


def _start(command: list[str], log: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
