"""Prompts of one's own as a benchmark: an arm's answers against the original's, in both orders.

    name = register(Path("prompts.jsonl"))      "prompts@3f2a91c0b7de": the digest stands in every figure
    benchmark_of(name)                          the benchmark

The judge is asked as in Arena-Hard (`tasks.benchmarks.pairwise_judge`). The original's answers are the
baseline, so its own score is 50 and that of + ExPO is its win rate.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.figures import Measure
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.pairwise_benchmark import PairwiseBenchmark, direct_matchups
from tasks.benchmarks.pairwise_files import Prompt, prompts_of, read_prompts
from tasks.benchmarks.pairwise_judge import Matchup, expected_usage
from tasks.core.errors import InputError
from tasks.core.text_files import read_json_lines
from tasks.core.values import canonical_json
from tasks.stores.disk import cache_folder, whole_file

__all__ = ["benchmark_of", "is_own", "name_of", "register"]

PREFIX = "prompts@"
NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{12}")
FIELDS = ("prompt", "instruction", "question", "text")
ANSWER = 3000  # characters, for an estimate


class _OwnPrompts(PairwiseBenchmark):
    against_original = True
    reference = "the original's answers"

    def __init__(self, name: str) -> None:
        self.name = name
        title = f"own prompts {name.removeprefix(PREFIX)}"
        self.measure = Measure(
            title=title,
            score="win rate",
            axis="win rate over the original, %",
            metric="win_rate",
            dataset=title,
            length_controlled=True,
            control="style",
        )

    def questions(self) -> Path:
        path = _place(self.name)
        if not path.is_file():
            raise InputError(
                f"{self.name}: these prompts are not on this machine; give their file once more (--prompts)"
            )
        return path

    def expected_usage(self, judge: Judge, questions: Path | None = None) -> Usage:
        """Of both arms: the original's own answers are drawn with themselves, and nobody is asked."""
        return expected_usage(
            [(prompt, "x" * ANSWER) for prompt in read_prompts(questions or self.questions())], judge
        )

    def matchups(self, answers: Path, reference: Path) -> list[Matchup]:
        """Against another file of answers to the same prompts."""
        return direct_matchups(answers, reference, asked_in(reference))

    def references(self, answers: Mapping[str, str]) -> Mapping[str, str]:
        return {}


def register(path: Path) -> str:
    """The name of a file's benchmark; keeps the prompts on this machine under it.

    JSON lines, each a text or an object with a "prompt" ("instruction", "question", "text"); "uid" and
    "category" are kept where they are there.

    Raises:
        InputError: no such file, a line without a prompt, fewer than two prompts, or one twice.
    """
    return _keep(prompts_of(_rows(path)), str(path))


def name_of(answers: Path) -> str:
    """The same for the prompts that a file of answers in Arena-Hard's form is of; raises as `register`."""
    return _keep(asked_in(answers), str(answers))


def is_own(name: str) -> bool:
    """Whether a benchmark's name is that of prompts of one's own."""
    return NAME.fullmatch(name) is not None


def benchmark_of(name: str) -> PairwiseBenchmark:
    """The benchmark by its name."""
    return _OwnPrompts(name)


def asked_in(answers: Path) -> tuple[Prompt, ...]:
    """The prompts that a file of answers in Arena-Hard's form repeats.

    Raises:
        InputError: a line has no prompt and answer, or a prompt is there twice.
    """
    return prompts_of(_asked(answers))


def _asked(answers: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in read_json_lines(answers):
        where, messages = f"{answers}: line {number}", row.get("messages")
        if not isinstance(messages, list) or len(messages) != 2 or not isinstance(messages[0], dict):
            raise InputError(
                f'{where} is no answer of Arena-Hard\'s form: "uid", and a prompt and its answer'
            )
        yield where, {**row, "prompt": messages[0].get("content")}


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in read_json_lines(path):
        where = f"{path}: line {number}"
        text = next((row[field] for field in FIELDS if field in row), None)
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where} has no text under any of {', '.join(FIELDS)}")
        uid = row.get("uid", hashlib.sha256(text.encode()).hexdigest()[:16])
        yield where, {"uid": uid, "prompt": text, "category": row.get("category") or ""}


def _keep(prompts: tuple[Prompt, ...], where: str) -> str:
    if len(prompts) < 2:
        raise InputError(f"{where}: a comparison needs at least two prompts; there is {len(prompts)}")
    content = b"".join(
        canonical_json({"uid": prompt.uid, "prompt": prompt.text, "category": prompt.category}) + b"\n"
        for prompt in prompts
    )
    name = PREFIX + hashlib.sha256(content).hexdigest()[:12]
    if not _place(name).is_file():
        with whole_file(_place(name)) as part:
            part.write_bytes(content)
    return name


def _place(name: str) -> Path:
    return cache_folder() / "prompts" / f"{name.removeprefix(PREFIX)}.jsonl"
