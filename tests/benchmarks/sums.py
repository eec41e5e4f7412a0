"""A third benchmark, for the tests: ten sums, verified by a rule. All of it is this module."""

import json
import re
from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any

from tasks.benchmarks.alpaca_files import read_answers
from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged, Measure, Score
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.rows import Dialogue, DialogueTurn, Rows
from tasks.core.errors import InputError
from tasks.stats.metrics import ArmMetrics
from tasks.stores.disk import cache_folder, whole_file

__all__ = ["BENCHMARK", "SUMS"]

SUMS = {f"What is {number} plus {2 * number}?": 3 * number for number in range(1, 11)}


class SumsScore(Score):
    """The share of right answers in %, and of how many items."""

    model: str
    accuracy: float
    n_total: int

    def metrics(self) -> ArmMetrics:
        share = self.accuracy / 100
        error = 100 * (share * (1 - share) / self.n_total) ** 0.5
        return ArmMetrics(score=self.accuracy, standard_error=error, mean_length=0)


class _Sums(Benchmark):
    name = "sums"
    measure = Measure(
        title="Ten sums", score="accuracy", axis="accuracy, %", metric="accuracy", dataset="sums"
    )
    judging = "verified"
    form = "instructions"
    judgments = "sums.json"
    rule = "last number, version 1"

    def questions(self) -> Path:
        path = cache_folder() / "sums-questions.json"
        with whole_file(path) as part:  # stages read it at the same time
            part.write_text(json.dumps([{"instruction": question} for question in SUMS]))
        return path

    def judge(
        self,
        answers: Path,
        reference: Path,
        judge: Judge,
        folder: Path,
        *,
        advance: Callable[[int], None],
        again: bool = False,
    ) -> Path:
        rows = [
            {
                "question": row["instruction"],
                "answer": row["output"],
                "right": re.findall(r"\d+", row["output"])[-1:] == [str(SUMS[row["instruction"]])],
                "model": row["generator"],
                "rule": judge.model,
            }
            for row in read_answers(answers)
        ]
        advance(len(rows))
        (folder / self.judgments).write_text(json.dumps(rows))
        return folder / self.judgments

    def count(self, judgments: Path) -> Counts:
        return Counts(len(_rows(judgments)), 0)

    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> SumsScore:
        rows = _rows(judgments)
        chosen = self.item_scores(judgments).items()
        scores = [score for item, score in chosen if items is None or item in items]
        return SumsScore(
            judge=rows[0]["rule"],
            model=rows[0]["model"],
            accuracy=sum(scores) / len(scores),
            n_total=len(scores),
        )

    def item_scores(self, judgments: Path) -> dict[str, float]:
        return {row["question"]: 100.0 * row["right"] for row in _rows(judgments)}

    def rows(self, original: Judged, expo: Judged) -> Rows:
        pairs = zip(_rows(original.judgments), _rows(expo.judgments), strict=True)
        return Rows(
            dialogues=tuple(
                Dialogue(
                    question_id=number,
                    category="",
                    benchmark=self.name,
                    turns=(
                        DialogueTurn(
                            question=before["question"],
                            original=before["answer"],
                            expo=after["answer"],
                            reference=str(SUMS[before["question"]]),
                            original_rating=float(before["right"]),
                            expo_rating=float(after["right"]),
                        ),
                    ),
                )
                for number, (before, after) in enumerate(pairs, start=1)
            )
        )

    def recognizes(self, judgments: Path) -> bool:
        return judgments.suffix == ".json" and '"right"' in judgments.read_text()

    def model_of(self, judgments: Path) -> str:
        return str(_rows(judgments)[0]["model"])


def _rows(judgments: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(judgments.read_text())
    if not rows:
        raise InputError(f"{judgments}: no sums")
    return rows


BENCHMARK = _Sums()
