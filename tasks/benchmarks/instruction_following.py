"""Benchmarks of instructions that a program can check: what IFEval and IFBench have in common.

A prompt has one instruction or several. Each is read strictly and loosely: a loose reading also takes
the answer without markdown's asterisks and without its first or last line.
"""

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tasks.benchmarks.data import DataFile, fetch
from tasks.benchmarks.figures import Score
from tasks.benchmarks.verified import Check, Item, VerifiedBenchmark, binary_error
from tasks.core.errors import CorruptError
from tasks.core.text_files import read_json_lines
from tasks.stats.metrics import ArmMetrics
from tasks.stores.disk import whole_file

__all__ = ["Checker", "InstructionBenchmark", "InstructionScore", "Reading", "write_questions"]

Reading = Literal["strict", "loose"]
# Which instructions of a document (key, prompt, instruction_id_list, kwargs) an answer follows,
# strictly and loosely.
Checker = Callable[[Mapping[str, Any], str], tuple[list[bool], list[bool]]]


class InstructionScore(Score):
    """Shares in %: of prompts whose instructions are all followed, and of instructions; strict and loose.

    reading  by which an item counts as right
    kinds    instructions followed in that reading, by their kind ("keywords", "length_constraints", …)
    """

    model: str
    prompt_strict: float
    prompt_loose: float
    instruction_strict: float
    instruction_loose: float
    standard_error: float
    kinds: dict[str, float]
    n_total: int
    reading: Reading = "strict"

    def metrics(self) -> ArmMetrics:
        """As a report shows them: the prompt-level accuracy in % in this reading, and that of each kind."""
        return ArmMetrics(
            score=self.prompt_strict if self.reading == "strict" else self.prompt_loose,
            standard_error=self.standard_error,
            mean_length=0,
            kinds=self.kinds,
        )


class InstructionBenchmark(VerifiedBenchmark):
    """An item counts where the answer follows all instructions of its prompt, by the benchmark's reading."""

    reading: Reading = "strict"

    @abstractmethod
    def checker(self) -> Checker:
        """What checks an answer; it loads the package.

        Raises:
            RetryableError, PermanentError: a file that it needs cannot be had, or the package is missing.
        """

    def check(self, answered: Sequence[tuple[Item, str]]) -> Iterator[Check]:
        """Which instructions each answer follows, in both readings; raises as `checker`."""
        follows = self.checker()
        for item, answer in answered:
            document = {
                "key": item["item"],
                "prompt": item["instruction"],
                "instruction_id_list": item["instruction_id_list"],
                "kwargs": item["kwargs"],
            }
            strict, loose = follows(document, answer)
            details = {"instructions": item["instruction_id_list"], "strict": strict, "loose": loose}
            yield Check(all(details[self.reading]), details)

    def figures(self, rows: Sequence[dict[str, Any]]) -> InstructionScore:
        """Shares of prompts and of instructions, over rows of which there is at least one."""
        found = [row["details"] for row in rows]
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for details in found:
            for name, followed in zip(details["instructions"], details[self.reading], strict=True):
                by_kind[name.partition(":")[0]].append(followed)
        return InstructionScore(
            judge=rows[0]["rule"],
            model=str(rows[0]["model"]),
            prompt_strict=_share([all(details["strict"]) for details in found]),
            prompt_loose=_share([all(details["loose"]) for details in found]),
            instruction_strict=_share([followed for details in found for followed in details["strict"]]),
            instruction_loose=_share([followed for details in found for followed in details["loose"]]),
            standard_error=binary_error(rows),
            kinds={kind: _share(by_kind[kind]) for kind in sorted(by_kind)},
            n_total=len(rows),
            reading=self.reading,
        )

    def has_details(self, details: dict[str, Any]) -> bool:
        """Whether they are lists of one length: instructions, and which are followed in each reading."""
        lists = [details.get(name) for name in ("instructions", "strict", "loose")]
        kinds = (str, bool, bool)
        return (
            all(
                isinstance(found, list) and found and all(isinstance(entry, kind) for entry in found)
                for found, kind in zip(lists, kinds, strict=True)
            )
            and len({len(found or ()) for found in lists}) == 1
        )

    def words(self, row: dict[str, Any]) -> str:
        """Which instructions were not followed."""
        details = row["details"]
        followed = zip(details["instructions"], details[self.reading], strict=True)
        missed = [name for name, right in followed if not right]
        return f"not followed: {', '.join(missed)}" if missed else "all instructions followed"


def write_questions(prompts: DataFile, name: str) -> Path:
    """The file of questions, under this name beside the data set's own, downloaded if need be.

    Raises:
        RetryableError, PermanentError, CorruptError: it cannot be had, or a row of it lacks a field.
    """
    data = fetch(prompts)
    path = prompts.path.with_name(name)
    with whole_file(path) as part:
        part.write_text(json.dumps([_item(data, row) for _, row in read_json_lines(data)]))
    return path


def _item(data: Path, row: dict[str, Any]) -> Item:
    try:
        return {
            "instruction": row["prompt"],
            "item": int(row["key"]),
            "instruction_id_list": row["instruction_id_list"],
            "kwargs": row["kwargs"],
        }
    except KeyError as error:
        raise CorruptError(f"{data}: a row without {error}; remove it, and say `expo data fetch`") from error


def _share(followed: Sequence[bool]) -> float:
    return 100 * sum(followed) / len(followed)
