"""What decides a judgment is in the judge's fingerprint, and nothing else is."""

import json
from pathlib import Path

import pytest

from tasks.benchmarks.alpaca_annotators import prompt_file
from tasks.benchmarks.budget import Usage, dollars, estimate
from tasks.benchmarks.judge_config import (
    GRADING_SAMPLING,
    PAIRWISE_SAMPLING,
    Judge,
    ServeConfig,
    api_key,
)
from tasks.benchmarks.registry import benchmark_names, judge_fingerprint
from tasks.core.errors import InputError

REMOTE = Judge(model="m", base_url="https://judge.example/v1")
LOCAL = Judge(model="m", base_url="http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    ("judge", "changes"),
    [
        (LOCAL, {"base_url": "http://localhost:9000/v1"}),
        (REMOTE, {"max_concurrency": 1, "timeout_s": 1, "retries": 0, "rounds": 1}),
        (REMOTE, {"api_key_env": "OTHER_KEY"}),
        (
            REMOTE,
            {"min_judged": 0.5, "dollars_per_million": (1.0, 2.0), "max_cost": 5.0, "max_requests": 1},
        ),
    ],
)
def test_what_was_paid_for_is_found_again(judge: Judge, changes: dict[str, object]) -> None:
    """A local judge has another port in each run; a slower judging is the same judging."""
    changed = judge.model_copy(update=changes)
    for benchmark in benchmark_names():
        assert judge_fingerprint(judge, benchmark) == judge_fingerprint(changed, benchmark)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"seed": 1},
        {"both_orders": True},
        {"pairwise_sampling": PAIRWISE_SAMPLING.model_copy(update={"top_logprobs": 3})},
        {"base_url": "https://other.example/v1"},
        {"base_url": None},
    ],
)
def test_another_judge_never_finds_it(changes: dict[str, object]) -> None:
    assert judge_fingerprint(REMOTE, "alpaca_eval") != judge_fingerprint(
        REMOTE.model_copy(update=changes), "alpaca_eval"
    )


def test_a_changed_rating_pays_only_for_mt_bench_again() -> None:
    changed = REMOTE.model_copy(
        update={"grading_sampling": GRADING_SAMPLING.model_copy(update={"max_tokens": 4096})}
    )
    assert judge_fingerprint(changed, "alpaca_eval") == judge_fingerprint(REMOTE, "alpaca_eval")
    assert judge_fingerprint(changed, "mt_bench") != judge_fingerprint(REMOTE, "mt_bench")


def test_a_served_judge_is_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    served = Judge(model="m", serve=ServeConfig(checkpoint=str(tmp_path)))
    reached = served.model_copy(update={"base_url": "http://127.0.0.1:1234/v1"})
    assert judge_fingerprint(served, "mt_bench") == judge_fingerprint(reached, "mt_bench")
    (tmp_path / "config.json").write_text('{"another": "content"}')
    assert judge_fingerprint(served, "mt_bench") != judge_fingerprint(LOCAL, "mt_bench")
    with pytest.raises(ValueError, match="not both"):
        Judge(model="m", serve=ServeConfig(checkpoint="x"), base_url="http://127.0.0.1:1/v1")


def test_openai_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="set the environment variable OPENAI_API_KEY"):
        api_key(Judge(model="gpt-4"))
    assert api_key(LOCAL) == "none"


def test_a_limit_in_money_needs_prices() -> None:
    with pytest.raises(ValueError, match="max_cost needs dollars_per_million"):
        Judge(model="m", max_cost=5)


def test_an_estimate_is_a_little_more_than_the_real_bill(data: Path) -> None:
    """Against the tokens that OpenAI counted for two real judgings of 805 answers."""
    template = prompt_file().read_text()
    for model in ("zephyr_0.05", "zephyr_0.1"):
        rows = json.loads((data / f"annotations/{model}/annotations.json").read_text())
        asked = [row for row in rows if row["output_1"] != row["output_2"]]
        texts = [template + row["instruction"] + row["output_1"] + row["output_2"] for row in asked]
        usage = estimate([{"messages": [{"content": text}], "max_tokens": 1} for text in texts])
        billed = sum(row["raw_completion"]["total_tokens"] for row in asked)
        assert 1 < (usage.prompt_tokens + usage.completion_tokens) / billed < 1.3


def test_a_price_is_for_a_million_tokens() -> None:
    usage = Usage(requests=2, prompt_tokens=300_000, completion_tokens=100_000)
    assert dollars(REMOTE, usage) is None
    assert dollars(REMOTE.model_copy(update={"dollars_per_million": (10.0, 30.0)}), usage) == 6
