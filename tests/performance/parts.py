"""What each part of the streaming costs, in a process that lives: the page cache warm, torch imported.

    python -m tests.performance.parts                     2 GB a checkpoint, five rounds
    python -m tests.performance.parts --gigabytes 0.3 --rounds 1

The parts are left out by replacing them with nothing: figures without them are of no use but here.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from tasks.stores.folder_source import FolderSource
from tasks.weights import kernel
from tasks.weights.jobs import Plan
from tasks.weights.part_file import PartFile
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.shard_writer import write_shard
from tests.performance.measure import in_turn
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
    """Median seconds of each variant."""
    aligned, sft = make_pair(work, gigabytes)
    new, old = FolderSource(aligned), FolderSource(sft)
    plan = make_plan(Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=ALPHA), new, old)

    def without(*left_out: Callable[[], AbstractContextManager[None]]) -> Callable[[Path], None]:
        return lambda folder: _extrapolate(plan, new, old, folder, left_out)

    variants: dict[str, Callable[[Path], None]] = {
        "floor": lambda folder: floor(aligned, sft, ALPHA, folder),
        "whole": without(),
        "without arithmetic": without(_no_arithmetic, _no_block_stats),
        "without sha256": without(_no_hash),
        "without statistics": without(_no_block_stats),
        "without either": without(_no_hash, _no_block_stats),
    }
    return in_turn(variants, rounds, work)


def _extrapolate(
    plan: Plan,
    aligned: FolderSource,
    sft: FolderSource,
    folder: Path,
    left_out: Iterable[Callable[[], AbstractContextManager[None]]],
) -> None:
    with ExitStack() as stack:
        for part in left_out:
            stack.enter_context(part())
        for job in plan.shards:
            write_shard(job, aligned, sft, folder / job.file)


@contextmanager
def _no_hash() -> Iterator[None]:
    with patch.object(PartFile, "hash", lambda _file, _content: None):
        yield


@contextmanager
def _no_block_stats() -> Iterator[None]:
    with patch.object(kernel, "block_stats", lambda *_: (0.0, 0.0, 0.0, 0.0)):
        yield


@contextmanager
def _no_arithmetic() -> Iterator[None]:
    with patch.object(kernel, "extrapolate", lambda *_: 0):
        yield


if __name__ == "__main__":
    main()
