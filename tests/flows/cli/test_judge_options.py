"""The judge's options: one judge from them, one clear error, and what judging will take."""

import math
from pathlib import Path

import pytest

from flows.cli.judge_options import make_judge, print_estimate
from tasks.benchmarks.data import import_from
from tasks.benchmarks.judge_config import PUBLISHED_ANNOTATOR, Judge, ServeConfig
from tasks.benchmarks.registry import data_files
from tasks.core.errors import InputError


def test_options_make_a_judge() -> None:
    assert make_judge(None) is None
    assert make_judge("gpt-4.1") == Judge(model="gpt-4.1")
    served = make_judge(None, judge_serve="org/Some-Judge", both_orders=True)
    expected = Judge(model="Some-Judge", serve=ServeConfig(checkpoint="org/Some-Judge"), both_orders=True)
    assert served == expected


def test_a_preset_is_where_a_judge_starts() -> None:
    named = make_judge(judge_preset="gpt-4.1", both_orders=True)
    assert named is not None and named.both_orders
    assert (named.model, named.dollars_per_million, named.price_date) == ("gpt-4.1", (2.0, 8.0), "2026-03")
    dear = make_judge(judge_preset="gpt-4.1", judge_price=(3, 9))
    assert dear is not None and (dear.dollars_per_million, dear.price_date) == ((3, 9), "")
    other = make_judge("gpt-4.1-2025-04-14", judge_preset="gpt-4.1")  # another model's price is not known
    assert other is not None and (other.model, other.dollars_per_million) == ("gpt-4.1-2025-04-14", None)
    served = make_judge(judge_preset="qwen3-32b")
    assert served is not None and served.serve and served.serve.checkpoint == "Qwen/Qwen3-32B"
    here = make_judge(judge_preset="qwen3-32b", judge_url="http://127.0.0.1:8000/v1")
    assert here is not None and here.serve is None and here.annotator == "alpaca_eval_gpt4"


@pytest.mark.parametrize(
    ("url", "price", "known"),
    [
        ("http://127.0.0.1:8000/v1", None, None),
        ("https://other.example/v1", None, None),
        ("https://other.example/v1", (1.0, 2.0), (1.0, 2.0)),
        ("https://api.openai.com/v1/", None, (2.0, 8.0)),
        (None, None, (2.0, 8.0)),
    ],
)
def test_an_address_of_ones_own_has_no_price_of_another_vendor(
    url: str | None, price: tuple[float, float] | None, known: tuple[float, float] | None
) -> None:
    judge = make_judge(judge_preset="gpt-4.1", judge_url=url, judge_price=price)
    assert judge is not None and judge.dollars_per_million == known
    assert judge.price_date == ("2026-03" if known == (2.0, 8.0) else "")


def test_a_judge_of_ones_own_is_described_by_settings() -> None:
    judge = make_judge("mine", judge_url="http://127.0.0.1:8000/v1", judge_thinks=True)
    assert judge is not None
    for sampling in (judge.pairwise_sampling, judge.grading_sampling, judge.verdict_sampling):
        assert sampling.arguments() == {"max_completion_tokens": 16000}
    written = make_judge("mine", judge_annotator="alpaca_eval_gpt4")
    assert written is not None
    assert written.pairwise_sampling.arguments() == {"max_tokens": 100, "temperature": 0}


def test_an_annotator_leaves_a_preset_that_thinks_its_sampling() -> None:
    for preset in ("qwen3-32b", "o4-mini"):
        expected = make_judge(judge_preset=preset)
        assert make_judge(judge_preset=preset, judge_annotator="alpaca_eval_gpt4") == expected
        assert make_judge(judge_preset=preset, judge_thinks=True) == expected
    plain = make_judge(judge_preset="gpt-4.1", judge_annotator="alpaca_eval_gpt4")
    assert plain is not None and plain.pairwise_sampling.arguments() == {"max_tokens": 100, "temperature": 0}


def test_a_reasoning_parser_is_that_of_what_the_run_serves() -> None:
    for options in ({"judge_preset": "qwen3-32b"}, {"judge_serve": "org/x"}):
        judge = make_judge(**options, judge_reasoning_parser="qwen3")  # type: ignore[arg-type]
        assert judge is not None and judge.serve and judge.serve.reasoning_parser == "qwen3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judge_preset": "gpt-9"}, "no judge preset 'gpt-9'"),
        ({"judge_model": "m", "judge_annotator": "claude"}, "annotator 'claude' cannot be used here"),
        (
            {
                "judge_model": "m",
                "judge_thinks": True,
                "judge_annotator": "weighted_alpaca_eval_gpt-4o-mini-2024-07-18",
            },
            "reads log-probabilities",
        ),
        ({"judge_model": None, "judge_url": "http://127.0.0.1:1/v1"}, "give --judge-model as well"),
        ({"judge_model": "m", "judge_url": "http://127.0.0.1:1/v1", "judge_serve": "x"}, "not both"),
        ({"judge_model": "m", "max_judge_cost": 5.0}, "max_cost needs dollars_per_million"),
        ({"judge_model": "m", "judge_reasoning_parser": "qwen3"}, "the run serves no judge"),
        (
            {"judge_preset": "qwen3-32b", "judge_url": "http://127.0.0.1:1/v1"}
            | {"judge_reasoning_parser": "qwen3"},
            "the run serves no judge",
        ),
        ({"judge_preset": "o4-mini", "judge_annotator": PUBLISHED_ANNOTATOR}, "reads log-probabilities"),
        ({"judge_model": "m", "judge_temperature": math.nan}, "temperature nan: not a finite number"),
        ({"judge_model": "m", "judge_temperature": math.inf}, "temperature inf: not a finite number"),
        ({"judge_model": "m", "max_judge_requests": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_judge(**options)  # type: ignore[arg-type]


JUDGE = Judge(model="gpt-4-1106-preview", dollars_per_million=(10, 30), both_orders=True)


@pytest.fixture
def _no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_what_judging_takes_is_not_known_without_the_data(
    _no_data: None, capsys: pytest.CaptureFixture[str]
) -> None:
    print_estimate(JUDGE)
    assert capsys.readouterr().out.count("not known before `expo data fetch`") == 3


def test_what_judging_takes_is_known_once_the_data_is_there(
    fetched: Path, _no_data: None, capsys: pytest.CaptureFixture[str]
) -> None:
    import_from(fetched, data_files())
    print_estimate(JUDGE)
    said = capsys.readouterr().out
    assert "AlpacaEval 2.0: 3,220 requests, about 4.6 million tokens, about $4" in said
    assert "MT-Bench: 320 requests" in said and "both orders doubles" in said
