"""Benchmarks that a rule of a package verifies, without a judge: IFEval, IFBench, GSM8K.

A subclass says how one answer is checked and what the figures are. Judgments are JSON lines, one an item:

    {"item": 1000, "question": …, "answer": …, "reference": …, "score": 100.0, "details": {…},
     "model": …, "rule": …}

The score is 100 or 0; null, with a "cause", where the file of answers lacks the item.
"""

import json
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged, Score
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.rows import Dialogue, DialogueTurn, Rows
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import one_line, read_json, read_json_lines
from tasks.stores.disk import whole_file

__all__ = ["NOT_ANSWERED", "Check", "Item", "VerifiedBenchmark", "binary_error"]

NOT_ANSWERED = "not in the file of answers"

Item = dict[str, Any]  # of the file of questions: "instruction", "item", and what the rule needs
Row = dict[str, Any]  # of the file of judgments


class Check(NamedTuple):
    """What a rule found in an answer.

    details  in the benchmark's own words, a JSON object
    """

    right: bool
    details: dict[str, Any]


class VerifiedBenchmark(Benchmark):
    """A benchmark whose questions are instructions and whose answers a rule checks one by one."""

    judging = "verified"
    form = "instructions"

    @abstractmethod
    def check(self, answered: Sequence[tuple[Item, str]]) -> Iterable[Check]:
        """What the rule finds in each answer to its item, in this order; it loads the package.

        Raises:
            PermanentError: the package is not installed.
        """

    @abstractmethod
    def figures(self, rows: Sequence[Row]) -> Score:
        """The figures of judged rows, of which there is at least one."""

    @abstractmethod
    def has_details(self, details: dict[str, Any]) -> bool:
        """Whether these are what `check` finds in an answer."""

    @abstractmethod
    def words(self, row: Row) -> str:
        """What the rule found in an answer, for the report."""

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
        """Checks every answer by the rule; the file of findings, a row an item.

        Raises:
            InputError: the answers are those to other questions.
        """
        items: list[Item] = read_json(reference)
        given = _answers(answers, items)
        model = next(iter(given.values()))["generator"]
        answered = [place for place in range(len(items)) if place in given]
        checks = dict(
            zip(answered, self.check([(items[at], given[at]["output"]) for at in answered]), strict=True)
        )
        with whole_file(folder / self.judgments) as part, part.open("w", encoding="utf-8") as file:
            for place, item in enumerate(items):
                row = {
                    "item": item["item"],
                    "question": item["instruction"],
                    "answer": given[place]["output"] if place in given else "",
                    "reference": item.get("reference", ""),
                    "model": model,
                    "rule": judge.model,
                    **_found(checks.get(place)),
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        advance(len(answered))
        return folder / self.judgments

    def count(self, judgments: Path) -> Counts:
        """Items in all, and those without an answer, with the causes."""
        rows = self._rows(judgments)
        causes = Counter(row["cause"] for row in rows if row["score"] is None)
        return Counts(len(rows), causes.total(), causes=causes)

    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> Score:
        """The arm's figures, over `items` alone where they are given.

        Raises:
            PermanentError: fewer than `min_judged` of the items have an answer.
        """
        rows = self._rows(judgments)
        judged = [row for row in rows if row["score"] is not None and (items is None or row["item"] in items)]
        if items is None and (not judged or len(judged) < min_judged * len(rows)):
            raise PermanentError(
                f"{judgments}: {len(judged)} of {len(rows)} items have an answer, and a figure needs "
                f"{min_judged:.0%}; give the answers to all questions"
            )
        return self.figures(judged)

    def item_scores(self, judgments: Path) -> dict[int, float | None]:
        """By the item's number: 100 where the rule is met, 0 where not, None without an answer."""
        return {row["item"]: row["score"] for row in self._rows(judgments)}

    def rows(self, original: Judged, expo: Judged) -> Rows:
        """The items that one arm has right and the other wrong: the others say nothing of the difference."""
        after = {row["item"]: row for row in self._rows(expo.judgments)}
        return Rows(
            dialogues=tuple(
                self._dialogue(before, after[before["item"]])
                for before in self._rows(original.judgments)
                if before["item"] in after and _differ(before, after[before["item"]])
            )
        )

    def recognizes(self, judgments: Path) -> bool:
        """JSON lines by this benchmark's rule, of any version."""
        if judgments.suffix != ".jsonl":
            return False
        try:
            rule = read_json_lines(judgments)[0][1].get("rule")
        except (InputError, IndexError):
            return False
        return isinstance(rule, str) and _task_of(rule) == _task_of(self.rule)

    def model_of(self, judgments: Path) -> str:
        """The name in the first row."""
        return one_line(str(self._rows(judgments)[0]["model"]))

    def _dialogue(self, before: Row, after: Row) -> Dialogue:
        turn = DialogueTurn(
            question=before["question"],
            original=before["answer"],
            expo=after["answer"],
            reference=before["reference"],
            original_rating=before["score"] / 100,
            expo_rating=after["score"] / 100,
            original_judgment=self.words(before),
            expo_judgment=self.words(after),
        )
        return Dialogue(question_id=before["item"], category="", benchmark=self.name, turns=(turn,))

    def _rows(self, judgments: Path) -> list[Row]:
        """The rows of a file of judgments, checked as far as every figure needs them."""
        rows = [row for _, row in read_json_lines(judgments)]
        for number, row in enumerate(rows, start=1):
            lacking = {"item", "question", "answer", "reference", "score", "model", "rule"} - row.keys()
            lacking |= {"details"} - row.keys() if row.get("score") is not None else set()
            if lacking:
                raise InputError(f"{judgments}: line {number} has no {', '.join(sorted(lacking))}")
            self._require_form(row, f"{judgments}: line {number}")
            row.setdefault("cause", NOT_ANSWERED)
        if not rows:
            raise InputError(f"{judgments}: no judgments")
        if len({row["item"] for row in rows}) < len(rows):
            raise InputError(f"{judgments}: an item stands twice in it")
        names = {tuple(one_line(str(row[name])) for name in ("model", "rule")) for row in rows}
        if len(names) > 1:
            both = ", ".join(f"{model} by {rule}" for model, rule in sorted(names))
            raise InputError(f"{judgments}: judgments of {both}; give a file of one model by one rule")
        return rows

    def _require_form(self, row: Row, where: str) -> None:
        score = row["score"]
        if isinstance(score, bool | list | dict) or score not in (0, 100, None):
            raise InputError(f"{where}: the score is 0, 100 or null")
        if isinstance(row["item"], bool) or not isinstance(row["item"], int):
            raise InputError(f"{where}: the item is a whole number")
        for name in ("question", "answer", "reference", "rule"):
            if not isinstance(row[name], str):
                raise InputError(f"{where}: {name} is a text")
        if score is not None and not (isinstance(row["details"], dict) and self.has_details(row["details"])):
            raise InputError(f"{where}: the details are not those that {self.measure.title}'s rule finds")


def _found(check: Check | None) -> Row:
    if check is None:
        return {"score": None, "cause": NOT_ANSWERED}
    return {"score": 100.0 * check.right, "details": check.details}


def binary_error(rows: Sequence[Row]) -> float:
    """The standard error in points of the share of right answers."""
    share = sum(float(row["score"]) for row in rows) / len(rows) / 100
    return 100 * math.sqrt(share * (1 - share) / len(rows))


def _answers(path: Path, items: Sequence[Item]) -> dict[int, Row]:
    """The answers by the place of their question; where two questions are alike, in their order."""
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: not a list of answers")
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item["instruction"], []).append(place)
    found: dict[int, Row] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(f), str) for f in ("instruction", "output")
        ):
            raise InputError(f"{path}: item {index} has no text in 'instruction' or 'output'")
        left = places.get(row["instruction"])
        if not left:
            why = "is no question of this benchmark" if left is None else "was answered before"
            raise InputError(f"{path}: item {index} {why}: {row['instruction'][:60]!r}")
        found[left.pop(0)] = {"generator": path.stem} | row
    return found


def _differ(before: Row, after: Row) -> bool:
    return None not in (before["score"], after["score"]) and before["score"] != after["score"]


def _task_of(rule: str) -> str:
    """A rule's name without its package and version: what stands behind the first colon."""
    return rule.partition(": ")[2]
