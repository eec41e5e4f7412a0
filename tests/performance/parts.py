"""What each part of the streaming costs, in a process that lives: the page cache warm, torch imported.

    python -m tests.performance.parts                     2 GB a checkpoint, five rounds
    python -m tests.performance.parts --gigabytes 0.3 --rounds 1

The parts are left out by replacing them with nothing: figures without them are of no use but here.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from tasks.stores.source import FolderSource
from tasks.weights import kernel
from tasks.weights.part import PartFile
from tasks.weights.plan import Plan, make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.shard import write_shard
from tests.performance.programs import floor
from tests.performance.synthetic import make_pair

__all__ = ["main", "measure_parts"]

ALPHA = 0.3


def main() -> None:
    """Prints the median of each variant, and its ratio to the floor and to the whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("out/work"))
    options = parser.parse_args()
    found = measure_parts(options.work, options.gigabytes, options.rounds)
    for name, seconds in found.items():
        print(f"{name:32}{seconds:8.2f} s{seconds / found['floor']:8.2f} × floor")


def measure_parts(work: Path, gigabytes: float, rounds: int) -> dict[str, float]:
    """Median seconds of each variant, run in turn."""
    aligned, sft = make_pair(work, gigabytes)
    ours, theirs = FolderSource(aligned), FolderSource(sft)
    plan = make_plan(Recipe(aligned=ours.checkpoint, sft=theirs.checkpoint, alpha=ALPHA), ours, theirs)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        variants: dict[str, Callable[[], None]] = {
            "floor": lambda: floor(aligned, sft, ALPHA, Path(folder)),
            "whole": lambda: _extrapolate(plan, ours, theirs, Path(folder)),
            "without sha256": lambda: _without(plan, ours, theirs, Path(folder), _no_hash),
            "without statistics": lambda: _without(plan, ours, theirs, Path(folder), _no_figures),
            "without either": lambda: _without(plan, ours, theirs, Path(folder), _no_hash, _no_figures),
        }
        for run in variants.values():  # the first touch of files and buffers is no part of it
            run()
        for _ in range(rounds):
            for name, run in variants.items():
                start = time.perf_counter()
                run()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _extrapolate(plan: Plan, aligned: FolderSource, sft: FolderSource, folder: Path) -> None:
    for job in plan.shards:
        write_shard(job, aligned, sft, folder / job.file)


def _without(
    plan: Plan,
    aligned: FolderSource,
    sft: FolderSource,
    folder: Path,
    *left_out: Callable[[], AbstractContextManager[None]],
) -> None:
    with ExitStack() as stack:
        for one in left_out:
            stack.enter_context(one())
        _extrapolate(plan, aligned, sft, folder)


@contextmanager
def _no_hash() -> Iterator[None]:
    with patch.object(PartFile, "hash", lambda _file, _content: None):
        yield


@contextmanager
def _no_figures() -> Iterator[None]:
    nothing = (0.0, 0.0, 0.0)
    with patch.object(kernel, "figures", lambda *_: nothing):
        yield


if __name__ == "__main__":
    main()
