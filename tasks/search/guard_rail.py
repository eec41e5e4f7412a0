"""A verified benchmark as a rail: a candidate that loses more than a margin on it is out before it is scored.

Each candidate answers the benchmark's first questions once, sampled as the search samples.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import find_benchmark
from tasks.core.errors import InputError
from tasks.core.text_files import read_json
from tasks.generation.answer_journal import Answer
from tasks.generation.answers import write_whole

__all__ = ["GuardRail", "GuardScores", "open_guards", "part_of"]


class GuardRail:
    """The first questions of a benchmark, and what answers to them score."""

    def __init__(self, name: str, count: int) -> None:
        """
        Raises:
            InputError: no such benchmark, or one that a judge scores.
            PermanentError: what scores it is not installed.
            RetryableError, PermanentError: its data cannot be had.
        """
        benchmark: Benchmark = find_benchmark(name)
        judge = benchmark.own_judge()
        if benchmark.judging != "verified" or benchmark.form != "instructions" or judge is None:
            raise InputError(
                f"guard {name}: {benchmark.measure.title} is not verified by a rule, one answer a question; "
                "name a benchmark that is"
            )
        benchmark.require()
        self._benchmark, self._judge = benchmark, judge
        benchmark.fetch_judging_data()
        self._items: list[dict[str, Any]] = read_json(benchmark.questions())[:count]
        self.prompts: tuple[str, ...] = tuple(item["instruction"] for item in self._items)

    def score(self, answers: Sequence[Answer], folder: Path) -> float:
        """The mean score of answers to all of `prompts`, in the benchmark's unit; judged in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        reference, answered = folder / "questions.json", folder / "answers.json"
        rows = [
            {"instruction": prompt, "output": answer.output, "generator": "search"}
            for prompt, answer in zip(self.prompts, answers, strict=True)
        ]
        write_whole(reference, json.dumps(self._items, ensure_ascii=False).encode())
        write_whole(answered, json.dumps(rows, ensure_ascii=False).encode())
        judged = self._benchmark.judge(answered, reference, self._judge, folder, advance=lambda _: None)
        found = self._benchmark.item_scores(judged).values()
        return fmean(score or 0.0 for score in found)


class GuardScores:
    """The scores of candidates on every guard, each made once."""

    def __init__(
        self,
        guards: Mapping[str, GuardRail],
        work: Path,
        answers: Callable[[str, float, int], Sequence[Answer]],
    ) -> None:
        """
        Args:
            work: the search's folder.
            answers: the first so many of a candidate to a part of the prompts.
        """
        self._guards, self._work, self._answers = guards, work, answers
        self._known: dict[float, dict[str, float]] = {}

    def of(self, alpha: float) -> dict[str, float]:
        """By the guard's name."""
        if alpha not in self._known:
            self._known[alpha] = {name: self._score(name, alpha) for name in self._guards}
        return self._known[alpha]

    def _score(self, name: str, alpha: float) -> float:
        guard = self._guards[name]
        answers = self._answers(part_of(name), alpha, len(guard.prompts))
        return guard.score(answers, self._work / "guards" / f"{name}-{alpha:g}")


def part_of(name: str) -> str:
    """What a guard's questions are called among the prompts of a search."""
    return f"guard-{name}"


def open_guards(margins: Mapping[str, float], count: int) -> dict[str, GuardRail]:
    """The guards by name; raises as `GuardRail`."""
    return {name: GuardRail(name, count) for name in margins}
