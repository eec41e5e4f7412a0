"""The options of a search for what decides and what reports beside it."""

import pytest

from flows.cli.objective_options import first_objective, given_objective
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.core.errors import InputError
from tasks.core.families import find_family
from tasks.generation.settings import GenerationSettings
from tasks.search.search_config import SearchConfig

JUDGE = Judge(model="gpt-4o")


def test_one_objective_decides() -> None:
    assert first_objective(JUDGE, None, None, None).judge == JUDGE
    rewarded = first_objective(None, "Skywork/Skywork-Reward-V2-Qwen3-0.6B", None, None)
    assert rewarded.describe() == "reward model Skywork/Skywork-Reward-V2-Qwen3-0.6B"
    assert first_objective(None, None, "module:function", None).function == "module:function"
    of_family = first_objective(None, None, None, find_family("demo"))
    assert of_family.judge is not None and of_family.judge.model == "demo-rule"


def test_a_served_judge_leaves_room_for_the_engine() -> None:
    served = Judge(model="served", serve=ServeConfig(checkpoint="org/judge"))
    for second in (None, first_objective(None, "org/reward", None, None)):
        config = SearchConfig(objective=first_objective(served, None, None, None), second=second)
        assert config.judge and config.judge.serve
        share = config.settings(GenerationSettings()).gpu_memory_utilization
        assert share >= 0.2 and round(share + config.judge.serve.gpu_memory_utilization, 2) <= 0.95


def test_several_or_none_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match="--judge-second, --second-reward-model"):
        first_objective(JUDGE, "org/reward", None, None)
    with pytest.raises(InputError, match="nothing scores the answers; give --judge-model"):
        first_objective(None, None, None, find_family("zephyr-7b-beta"))
    assert given_objective(None, None, None) is None
