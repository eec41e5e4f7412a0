"""Compares two files of judgments: the verdict on any two models, paired item by item.

compare(Path("a/annotations.json"), Path("b/annotations.json"))      AlpacaEval's, by instruction
compare(Path("a.jsonl"), Path("b.jsonl"))                            MT-Bench's, by question
"""

from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.figures import MIN_JUDGED, UNKNOWN_JUDGE, Score
from tasks.benchmarks.lineage import shared_lineage
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import benchmark_names, find_benchmark
from tasks.comparison.pairing import arm_result, paired_items, scores_of
from tasks.core.errors import InputError
from tasks.stats.decision import Verdict, decide

__all__ = ["Comparison", "benchmark_of_judgments", "compare", "compare_as"]


class Comparison(NamedTuple):
    """Two models, the figures of each over the items judged in both, and the verdict on the second."""

    names: tuple[str, str]
    scores: tuple[Score, Score]
    verdict: Verdict


def compare(
    first: Path, second: Path, extra: Path | None = None, *, min_judged: float = MIN_JUDGED
) -> Comparison:
    """Decides whether the second file's model is better than the first's.

    extra  the data file of the benchmark's figures, as in `Benchmark.score`

    Raises:
        InputError: the files are of two benchmarks, judges or references.
        PermanentError: too little of them was judged in both.
    """
    return compare_as(benchmark_of_judgments(first, second), first, second, extra, min_judged=min_judged)


def compare_as(
    benchmark: Benchmark,
    first: Path,
    second: Path,
    extra: Path | None = None,
    *,
    min_judged: float = MIN_JUDGED,
) -> Comparison:
    """The same for two files that are known to be of this benchmark; raises as `compare`."""
    files = (first, second)
    benchmark.require_comparable(first, second)
    items = paired_items(benchmark, files, min_judged)
    before, after = scores_of(benchmark, files, items, min_judged, extra)
    for file, score in zip(files, (before, after), strict=True):
        if score.judge == UNKNOWN_JUDGE:
            raise InputError(
                f"{file}: does not say who judged; only figures by the same judge are compared, so write the "
                "judge's name into it"
            )
    if before.judge != after.judge:
        raise InputError(
            f"{first} was judged by {before.judge} and {second} by {after.judge}; "
            "figures by different judges are not compared"
        )
    names = (benchmark.model_of(first), benchmark.model_of(second))
    verdict = decide(
        names[1],
        0.0,
        benchmark.name,
        before.judge,
        arm_result(benchmark, first, before, items),
        arm_result(benchmark, second, after, items),
        unit=benchmark.measure.unit,
    )
    model = before.judge.partition(" (")[0]  # behind it stands the annotator, which bears a model's name too
    warning = shared_lineage([model], names)
    return Comparison(names, (before, after), verdict.model_copy(update={"warning": warning}))


def benchmark_of_judgments(first: Path, second: Path) -> Benchmark:
    """The benchmark that both files of judgments are of.

    Raises:
        InputError: one is of none, or they are of two.
    """
    known = [find_benchmark(name) for name in benchmark_names()]
    found = [
        next((benchmark for benchmark in known if benchmark.recognizes(file)), None)
        for file in (first, second)
    ]
    if found[0] is None or found[1] is None:
        file = first if found[0] is None else second
        titles = ", ".join(benchmark.measure.title for benchmark in known)
        raise InputError(f"{file}: judgments of no benchmark; there are {titles}")
    if found[0] is not found[1]:
        raise InputError(
            f"{first}, {second}: the first is {found[0].measure.title}'s, "
            f"the second {found[1].measure.title}'s; give two of a kind"
        )
    return found[0]
