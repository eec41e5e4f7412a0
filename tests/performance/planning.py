"""How long `expo check` takes of 20,000 tensors, of a pair that fits and of pairs that do not.

    python -m tests.performance.planning [--rounds 3]

Prints for each the median CPU and wall seconds of the whole process, and the lines that it printed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from tests.weights.test_many_tensors import many, skeleton

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=52, help="of 389 tensors each")
    asked = parser.parse_args(arguments)
    entries = many(layers=asked.layers)
    sides = {
        "that fits": entries,
        "under a wrapper's prefix": {f"_orig_mod.{name}": entry for name, entry in entries.items()},
        "of other names": {f"x{number}": entry for number, entry in enumerate(entries.values())},
    }
    with tempfile.TemporaryDirectory() as work:
        aligned = skeleton(Path(work) / "aligned", entries).folder()
        for title, content in sides.items():
            # Skeletons of the same zeros: only what is planned is measured.
            sft = skeleton(Path(work) / title.replace(" ", "-"), content).folder()
            cpu, wall, lines = _measured(aligned, sft, asked.rounds)
            print(f"{len(entries):,} tensors, a pair {title}: {cpu:.2f} CPU s, {wall:.2f} s, {lines} lines")


def _measured(aligned: Path, sft: Path, rounds: int) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "flows.cli", "check", "--sft", str(sft), "--aligned", str(aligned)]
    found = [_run(command) for _ in range(rounds)]
    cpu, wall, lines = zip(*found, strict=True)
    return statistics.median(cpu), statistics.median(wall), max(lines)


def _run(command: Sequence[str]) -> tuple[float, float, int]:
    before, begin = getrusage(RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall, after = time.monotonic() - begin, getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, len(done.stdout.splitlines())


if __name__ == "__main__":
    main()
