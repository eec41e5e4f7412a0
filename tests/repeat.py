"""The whole suite again and again: every run has to give the same counts.

    python -m tests.repeat                     five runs, one with every core kept busy, one with one worker
    python -m tests.repeat --runs 1 -- tests/weights -m "not slow"

The counts of each run go to standard output as soon as it ends, its output to FOLDER. Exit status 1
where two runs differ, in a count or in the outcome of any test, or where a test failed.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["WAYS", "main", "outcomes"]

WORKERS = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
# how the machine is used, and pytest's options
WAYS = {
    "as usual": WORKERS,
    "every core busy": WORKERS,
    "one worker": ("-n", "1"),
    "again": WORKERS,
    "once more": WORKERS,
}


def main() -> None:
    """Runs the suite, and compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=len(WAYS))
    parser.add_argument("--folder", type=Path, default=Path("out/repeat"))
    parser.add_argument("pytest", nargs="*", help="pytest's arguments, after --")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for number, (way, workers) in zip(range(options.runs), itertools.cycle(WAYS.items()), strict=False):
        with _busy(os.cpu_count() or 1 if way == "every core busy" else 0):
            runs.append(_run(options.folder / f"run-{number}", way, (*workers, *options.pytest)))
    different = sorted(test for test in set().union(*runs) if len({run.get(test) for run in runs}) > 1)
    for test in different:
        print(f"differs: {test}: {', '.join(run.get(test, 'not run') for run in runs)}")
    bad = different or not all(runs) or any({"failed", "error"} & set(run.values()) for run in runs)
    sys.exit(1 if bad else 0)


def outcomes(report: Path) -> dict[str, str]:
    """Of each test of a JUnit report: passed, skipped, failed or error."""
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"skipped", "failure", "error"}
        outcome = min(kinds, default="passed").replace("failure", "failed")
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def _run(files: Path, way: str, arguments: tuple[str, ...]) -> dict[str, str]:
    report, start = files.with_suffix(".xml"), time.monotonic()
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junit-xml={report}", *arguments]
    with files.with_suffix(".log").open("wb") as log:
        status = subprocess.run(command, stdout=log, stderr=log).returncode
    run = outcomes(report) if report.exists() else {}
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(run.values()).items()))
    minutes = (time.monotonic() - start) / 60
    print(f"{way:16}{counts or 'no report'}; exit status {status}, {minutes:.1f} min", flush=True)
    return run


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that compute without end, until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()
