"""Whole processes measured from outside, as the system counts them; and ways within one process, in turn."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Figures", "Program", "Run", "drop_caches", "in_turn", "median", "run_process"]

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
# A process of its own: a program's peak is never below that of the process that started it.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - start
os.sync()
synced = time.monotonic() - start
figures = [wall, synced, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
print(json.dumps(figures), file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


class Program(NamedTuple):
    """A command that writes a model into a folder, which is added as its last argument."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Run(NamedTuple):
    """One process from start to end.

    wall, synced  seconds until it ended, and until what it wrote was on the disk
    cpu           seconds of user and system time, its children's included
    rss           bytes of memory at its peak, of the largest process
    """

    wall: float
    synced: float
    cpu: float
    rss: int


class Figures(NamedTuple):
    """Medians over the rounds, in the units of `Run`, with the least and the greatest wall time."""

    wall: float
    least: float
    greatest: float
    synced: float
    cpu: float
    rss: int


def run_process(program: Program, out: Path) -> Run:
    """Runs a program with nothing left to write back before it.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    os.sync()
    launched = subprocess.run(
        [sys.executable, "-I", "-c", LAUNCHER, *program.command, str(out)],
        env={**os.environ, **program.environment},
        capture_output=True,
    )
    if launched.returncode:
        printed = launched.stdout[-2000:].decode(errors="replace")
        raise RuntimeError(f"{program.name}: exit status {launched.returncode}\n{printed}")
    return Run(*json.loads(launched.stderr.splitlines()[-1]))


def in_turn(ways: Mapping[str, Callable[[Path], object]], rounds: int, work: Path) -> dict[str, float]:
    """Median seconds of each way in a process that lives, run in turn, each into a new folder."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            with tempfile.TemporaryDirectory(dir=work) as folder:
                start = time.perf_counter()
                run(Path(folder))
                if number:  # the first touch of files and buffers is no part of it
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def drop_caches(folders: Iterable[Path]) -> None:
    """Empties the page cache where that is permitted, else takes the folders' files out of it."""
    os.sync()
    try:
        DROP_CACHES.write_text("1")
    except OSError:
        for path in (path for folder in folders for path in folder.iterdir()):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def median(runs: Sequence[Run]) -> Figures:
    """The figures of several runs of one program."""
    walls = [run.wall for run in runs]
    return Figures(
        wall=statistics.median(walls),
        least=min(walls),
        greatest=max(walls),
        synced=statistics.median(run.synced for run in runs),
        cpu=statistics.median(run.cpu for run in runs),
        rss=round(statistics.median(run.rss for run in runs)),
    )
