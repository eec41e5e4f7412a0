"""Two arms' files of judgments as results over the same items: the population of every figure in a table."""

from collections.abc import Collection, Hashable, Sequence
from pathlib import Path

from tasks.benchmarks.figures import MIN_JUDGED, Score
from tasks.benchmarks.protocol import Benchmark
from tasks.core.errors import InputError, PermanentError
from tasks.stats.metrics import ArmResult

__all__ = ["arm_result", "paired_items", "scores_of"]


def paired_items(
    benchmark: Benchmark, files: Sequence[Path], min_judged: float = MIN_JUDGED
) -> frozenset[Hashable]:
    """The items that are judged in every file.

    Raises:
        InputError: a file is not of the benchmark's form, or they are fewer than two.
        PermanentError: they are less than `min_judged` of all items of the files.
    """
    scores = [benchmark.item_scores(file) for file in files]
    items = set().union(*scores)
    both = frozenset(item for item in items if all(arm.get(item) is not None for arm in scores))
    if len(both) < min_judged * len(items):
        raise PermanentError(
            f"{', '.join(map(str, files))}: {len(both)} of {len(items)} items are judged in all of them, "
            f"and a verdict needs {min_judged:.0%}; judge the rest, or give files about the same items"
        )
    if len({benchmark.cluster(item) for item in both}) < 2:
        raise InputError(
            f"{', '.join(map(str, files))}: a verdict needs at least two items that do not depend on each "
            f"other; {len(both)} of {len(items)} are judged in all of them"
        )
    return both


def scores_of(
    benchmark: Benchmark,
    files: Sequence[Path],
    items: Collection[Hashable],
    min_judged: float = MIN_JUDGED,
    extra: Path | None = None,
) -> list[Score]:
    """Each file's figures over these items; `extra` as in `Benchmark.score`."""
    return [benchmark.score(file, items=items, min_judged=min_judged, extra=extra) for file in files]


def arm_result(benchmark: Benchmark, file: Path, score: Score, items: Collection[Hashable]) -> ArmResult:
    """One file's result, whose scores are of these items; the others are there without one."""
    scores = benchmark.item_scores(file)
    return ArmResult(
        metrics=score.metrics(),
        scores={item: value if item in items else None for item, value in scores.items()},
        clusters={item: benchmark.cluster(item) for item in scores},
        resampled=(score.resampled,),
        lc_note=score.note,
    )
