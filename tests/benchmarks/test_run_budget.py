"""What a run may ask of its judge, shared out among its benchmarks and arms."""

import pytest

from tasks.benchmarks.budget import Usage, budget_share, describe_usage, split_budget
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import judge_fingerprint
from tasks.comparison.judge_session import within_budget
from tasks.comparison.judges import find_judges
from tasks.core.errors import InputError, PermanentError
from tasks.core.families import find_family
from tests.benchmarks.judged_run import Run
from tests.servers.judge import JudgeServer


def test_a_budget_is_the_runs(run: Run, server: JudgeServer) -> None:
    judge = run.judge.model_copy(
        update={"max_requests": 1000, "max_cost": 5.0, "dollars_per_million": (10.0, 30.0)}
    )
    half = split_budget(judge, 2)
    assert (half.max_requests, half.max_cost) == (500, 2.5)
    assert judge_fingerprint(half, "alpaca_eval") == judge_fingerprint(judge, "alpaca_eval")
    parts = (Usage(requests=30, prompt_tokens=100), Usage(requests=10, prompt_tokens=300))
    shares = [budget_share(judge, part, parts[0] + parts[1]) for part in parts]
    assert [judge.max_requests for judge in shares] == [750, 250]
    assert [judge.max_cost for judge in shares] == pytest.approx([1.25, 3.75])

    judges, usages = within_budget({"alpaca_eval": judge}, [run.asked, run.asked])
    assert judges[run.asked].max_requests == 500 and usages[judge].requests == 60
    with pytest.raises(PermanentError, match="60 more requests after 0 pass the limit of 59"):
        within_budget({"alpaca_eval": judge.model_copy(update={"max_requests": 59})}, [run.asked, run.asked])
    assert server.bodies == []


def test_an_estimate_in_words() -> None:
    judge = Judge(model="m", dollars_per_million=(10, 30), max_cost=30)
    usage = Usage(requests=1610, prompt_tokens=2_100_000, completion_tokens=1610)
    said = "1,610 requests, about 2.1 million tokens, about $21.05 (limit $30.00)"
    assert describe_usage(judge, usage) == said


def test_the_demos_rule_rates_nothing() -> None:
    with pytest.raises(InputError, match="rates nothing; leave mt_bench out"):
        find_judges(find_family("demo"), None, ("alpaca_eval", "mt_bench"))
