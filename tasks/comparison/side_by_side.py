"""Both arms' answers side by side with the judge's words, for the report's browser of answers."""

from collections.abc import Sequence

from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.rows import Rows
from tasks.comparison.results import Judgments
from tasks.comparison.verdicts import by_benchmark

__all__ = ["side_by_side"]


def side_by_side(judged: Sequence[Judgments]) -> Rows:
    """The rows of every benchmark that both arms were judged on."""
    found = Rows()
    for name, asked in by_benchmark(judged).items():
        if pair := asked.pair:
            rows = find_benchmark(name).rows(pair[0].judged(), pair[1].judged())
            found = Rows(found.answers + rows.answers, found.dialogues + rows.dialogues)
    return found
