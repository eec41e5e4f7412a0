"""The objective of a search: a judge's preference over α = 0, a reward model's score, or a function's."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from tasks.benchmarks.alpaca_judge import judge_answers, judge_name
from tasks.benchmarks.alpaca_score import preferences
from tasks.benchmarks.budget import Usage
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Journal
from tasks.benchmarks.registry import judge_fingerprint
from tasks.benchmarks.serving import LOG, serving
from tasks.benchmarks.table import DEFAULT
from tasks.core.values import Value, fingerprint
from tasks.generation.answers import write_whole
from tasks.generation.interpreter import engine_python
from tasks.search.functions import FunctionObjective
from tasks.search.reward_model import RewardModel, RewardObjective
from tasks.search.scoring import Answered, Objective

__all__ = ["ObjectiveConfig", "objective_fingerprint", "open_objective"]


class ObjectiveConfig(Value):
    """What scores candidates: one of the three.

    judge         its preference over α = 0
    reward_model  a sequence classifier that scores each answer
    function      the name of a Python function, "package.module:name", that the worker allows
    """

    judge: Judge | None = None
    reward_model: RewardModel | None = None
    function: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.judge, self.reward_model, self.function)) != 1:
            raise ValueError("an objective is a judge, a reward model or a function, one of them")
        return self

    def describe(self) -> str:
        """What scores, in words."""
        if self.judge is not None:
            return f"preference over α = 0, judged by {judge_name(self.judge)}"
        if self.reward_model is not None:
            return f"reward model {self.reward_model.checkpoint}"
        return f"function {self.function}"


class JudgeObjective:
    """How often a judge prefers an answer to that of α = 0, from 0 to 1; α = 0 itself has 0.5.

    All judgings share one journal, so no question is paid for twice and the judge's limits are
    those of the whole search.
    """

    def __init__(self, judge: Judge, folder: Path, advance: Callable[[int], None]) -> None:
        self._judge, self._folder, self._advance = judge, folder, advance

    def scores(self, alpha: float, answered: Answered) -> list[float]:
        """See `Objective`; raises as `tasks.benchmarks.alpaca_judge.judge_answers`."""
        if alpha == 0:
            return [0.5] * len(answered.prompts)
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        candidate, baseline = folder / "candidate.json", folder / "baseline.json"
        _write_rows(candidate, answered.prompts, answered.candidate, f"α={alpha:g}")
        _write_rows(baseline, answered.prompts, answered.baseline, "α=0")
        found = preferences(judge_answers(candidate, baseline, self._judge, folder, advance=self._advance))
        return [found.get(prompt, math.nan) for prompt in answered.prompts]

    def usage(self) -> Usage:
        """From the journal."""
        if not (self._folder / JOURNAL).is_file():
            return Usage()
        with Journal(self._folder / JOURNAL) as journal:
            return journal.usage


@contextmanager
def open_objective(
    config: ObjectiveConfig, folder: Path, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Objective]:
    """The objective, ready to score; a judge that has to be served is, until the block ends.

    advance  takes the number of answers that were scored; what it raises ends the scoring

    Raises:
        InputError: there is no such function, or the checkpoint is no reward model.
    """
    if config.function is not None:
        yield FunctionObjective(config.function)
        return
    if config.reward_model is not None:
        python = engine_python()
        with RewardObjective(config.reward_model, folder, advance=advance, python=python) as rewards:
            yield rewards
        return
    assert config.judge is not None
    folder.mkdir(parents=True, exist_ok=True)
    with serving(config.judge, folder / LOG) as endpoint:
        yield JudgeObjective(endpoint, folder, advance)


def objective_fingerprint(config: ObjectiveConfig) -> str:
    """sha256 of what decides the scores; of a function only its name is known."""
    if config.judge is not None:
        return judge_fingerprint(config.judge, DEFAULT)
    if config.reward_model is not None:
        return fingerprint({"reward_model": config.reward_model.identity()})
    return fingerprint({"function": config.function})


def _write_rows(path: Path, prompts: Sequence[str], outputs: Sequence[str], generator: str) -> None:
    rows = [
        {"instruction": prompt, "output": output, "generator": generator}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
    write_whole(path, json.dumps(rows, ensure_ascii=False).encode())
