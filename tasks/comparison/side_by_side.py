"""Both arms' answers side by side, with what the judge said of them: what the report's browser shows."""

import json
from collections.abc import Sequence

from tasks.benchmarks.data import mt_bench_files
from tasks.benchmarks.dialogues import Rated
from tasks.benchmarks.dialogues import dialogues as join
from tasks.benchmarks.score import preferences
from tasks.comparison.verdicts import by_benchmark
from tasks.judge import Judgments
from tasks.reports.run_report import AnswerRow, Dialogue

__all__ = ["answers", "dialogues"]


def answers(judged: Sequence[Judgments]) -> tuple[AnswerRow, ...]:
    """Every instruction of AlpacaEval with both arms' answers, the reference's, and who won."""
    asked = by_benchmark(judged).get("alpaca_eval")
    pair = asked.pair if asked else None
    if pair is None:
        return ()
    rows = [json.loads(judgments.path().read_text()) for judgments in pair]
    shares = [preferences(judgments.path()) for judgments in pair]
    return tuple(
        AnswerRow(
            instruction=before["instruction"],
            reference=before["output_1"],
            original=before["output_2"],
            expo=after["output_2"],
            original_preference=shares[0].get(before["instruction"]),
            expo_preference=shares[1].get(before["instruction"]),
        )
        for before, after in zip(*rows, strict=True)
    )


def dialogues(judged: Sequence[Judgments]) -> tuple[Dialogue, ...]:
    """Every question of MT-Bench with both arms' answers and the judge's words."""
    asked = by_benchmark(judged).get("mt_bench")
    pair = asked.pair if asked else None
    if pair is None:
        return ()
    original, expo = (Rated(one.generation.path(), one.path()) for one in pair)
    return join(mt_bench_files(), original, expo)
