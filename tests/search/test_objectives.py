"""Objectives: functions by name, and a judge whose answers are kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import InputError
from tasks.demo.rule import preference, score
from tasks.search.functions import load_function
from tasks.search.objectives import ObjectiveConfig, open_objective
from tasks.search.scoring import Answered

JUDGE = Judge(model="demo-rule", base_url="demo:rule")
PROMPTS = ("Write a note to Anna about the lamp.", "Write a note to Ben about the lake.")
PLAIN = ("Anna, the lamp is old.", "Ben, the lake is big.")
KIND = (
    "Dear Anna, I love the lovely lamp. Warm wishes.",
    "Dear Ben, I enjoy the splendid lake. Best wishes.",
)


def kindness(prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
    return [score(*pair) for pair in zip(prompts, answers, strict=True)]


def too_few(_prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    return [1.0] * (len(answers) - 1)


def words(_prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
    return [*answers]


not_a_function = 3


def test_a_function_scores_each_answer(tmp_path: Path) -> None:
    config = ObjectiveConfig(function="tests.search.test_objectives:kindness")
    with open_objective(config, tmp_path) as objective:
        kind = objective.scores(0.5, Answered(PROMPTS, KIND, PLAIN))
        plain = objective.scores(0.0, Answered(PROMPTS, PLAIN, PLAIN))
        assert all(first > second for first, second in zip(kind, plain, strict=True))
        assert objective.usage().requests == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("too_few", "1 scores for 2 answers"),
        ("words", "returned no list of numbers"),
        ("nothing", "no such function"),
        ("not_a_function", "is no function"),
    ],
)
def test_functions_that_are_none_are_refused_by_name(tmp_path: Path, function: str, message: str) -> None:
    config = ObjectiveConfig(function=f"tests.search.test_objectives:{function}")
    with pytest.raises(InputError, match=message), open_objective(config, tmp_path) as objective:
        objective.scores(0.5, Answered(PROMPTS, KIND, PLAIN))


@pytest.mark.parametrize("name", ["no.such.module:function", "no_entry_point", "os:"])
def test_a_name_that_leads_nowhere_says_how_to_write_one(name: str) -> None:
    with pytest.raises(InputError, match=r"package\.module:function"):
        load_function(name)


@pytest.mark.slow
def test_a_judge_scores_its_preference_over_the_baseline_and_is_asked_once(tmp_path: Path) -> None:
    with open_objective(ObjectiveConfig(judge=JUDGE), tmp_path) as objective:
        assert objective.scores(0.0, Answered(PROMPTS, PLAIN, PLAIN)) == [0.5, 0.5]
        found = objective.scores(0.5, Answered(PROMPTS, KIND, PLAIN))
        wanted = [preference(*item) for item in zip(PROMPTS, PLAIN, KIND, strict=True)]
        assert found == pytest.approx(wanted, abs=1e-5)
        assert objective.usage().requests == 2
        again = objective.scores(0.5, Answered(PROMPTS, KIND, PLAIN))
        assert again == found and objective.usage().requests == 2


def test_an_objective_is_one_thing() -> None:
    with pytest.raises(ValidationError, match="one of them"):
        ObjectiveConfig()
    with pytest.raises(ValidationError, match="one of them"):
        ObjectiveConfig(function="a:b", judge=JUDGE)
