"""The objective of a search: a judge's preference over α = 0, or a Python function's score.

A function is named as an entry point is, `package.module:function`, or by its name in the group
`expo.objectives`. It takes prompts and answers, two lists of texts, and returns a number for
each: higher is better.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.alpaca_score import preferences
from tasks.benchmarks.budget import Usage
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Journal
from tasks.benchmarks.registry import judge_fingerprint
from tasks.benchmarks.serving import LOG, serving
from tasks.benchmarks.table import DEFAULT
from tasks.core.errors import InputError
from tasks.core.values import Value, fingerprint
from tasks.generation.answers import write_whole

__all__ = [
    "Answered",
    "Objective",
    "ObjectiveConfig",
    "load_function",
    "objective_fingerprint",
    "open_objective",
]

GROUP = "expo.objectives"

Function = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


class ObjectiveConfig(Value):
    """Either a judge, or the name of a Python function."""

    judge: Judge | None = None
    function: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.judge is None) == (self.function is None):
            raise ValueError("an objective is a judge or a function, one of them")
        return self

    def describe(self) -> str:
        """What scores, in words."""
        if self.judge is not None:
            return f"preference over α = 0, judged by {self.judge.model}"
        return f"function {self.function}"


class Answered(NamedTuple):
    """A candidate's answers beside those of α = 0, by prompt."""

    prompts: Sequence[str]
    candidate: Sequence[str]
    baseline: Sequence[str]


class Objective(Protocol):
    """Scores answers; NaN where an answer has no score, as when a judge gave none."""

    def scores(self, alpha: float, answered: Answered) -> list[float]:
        """One score for each prompt."""

    def usage(self) -> Usage:
        """What was asked of a judge so far, over all tries."""


class FunctionObjective:
    """Scores by a Python function."""

    def __init__(self, name: str) -> None:
        self._name, self._function = name, load_function(name)

    def scores(self, alpha: float, answered: Answered) -> list[float]:  # noqa: ARG002 - the protocol's
        """See `Objective`.

        Raises:
            InputError: the function returned another number of scores, or something else.
        """
        found = self._function(answered.prompts, answered.candidate)
        try:
            scores = [float(score) for score in found]
        except (TypeError, ValueError) as error:
            raise InputError(f"objective {self._name}: it returned no list of numbers: {error}") from error
        if len(scores) != len(answered.prompts):
            raise InputError(
                f"objective {self._name}: {len(scores)} scores for {len(answered.prompts)} answers"
            )
        return scores

    def usage(self) -> Usage:
        """Nothing."""
        return Usage()


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

    Raises:
        InputError: there is no such function.
    """
    if config.judge is None:
        assert config.function is not None
        yield FunctionObjective(config.function)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with serving(config.judge, folder / LOG) as endpoint:
        yield JudgeObjective(endpoint, folder, advance)


def load_function(name: str) -> Function:
    """The function of an entry point's name, or of `package.module:function`.

    Raises:
        InputError: there is none.
    """
    registered = {point.name: point.value for point in entry_points(group=GROUP)}
    module, _, attribute = registered.get(name, name).partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(sorted(registered)) or "none"
        raise InputError(
            f"objective {name!r}: no such function ({error}); write package.module:function, or the name of "
            f"an entry point in the group {GROUP} (there are: {known})"
        ) from error
    if not callable(function):
        raise InputError(f"objective {name!r}: {module}:{attribute} is no function")
    loaded: Function = function
    return loaded


def objective_fingerprint(config: ObjectiveConfig) -> str:
    """sha256 of what decides the scores; of a function only its name is known."""
    if config.judge is not None:
        return judge_fingerprint(config.judge, DEFAULT)
    return fingerprint({"function": config.function})


def _write_rows(path: Path, prompts: Sequence[str], outputs: Sequence[str], generator: str) -> None:
    rows = [
        {"instruction": prompt, "output": output, "generator": generator}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
    write_whole(path, json.dumps(rows, ensure_ascii=False).encode())
