"""Judges that write their verdict: alpaca_eval's annotators by name, thoughts, functions, requests."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks.alpaca_annotators import _configs, find_annotator, reply_text
from tasks.benchmarks.judge_config import PAIRWISE_SAMPLING, Judge
from tasks.benchmarks.judge_presets import find_preset, preset_names, thinking
from tasks.benchmarks.registry import find_benchmark, judge_fingerprint
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.compare import compare
from tasks.core.errors import InputError
from tests.benchmarks.answers import LONG, SHORT, rows_of
from tests.benchmarks.conftest import Judging
from tests.servers.judge import Body, JudgeServer

WRITTEN = find_preset("alpaca_eval_gpt4")
ASKED = {"annotator": WRITTEN.annotator, "pairwise_sampling": WRITTEN.pairwise_sampling}


def ranking(body: Body, first: str = "model_1", second: str = "model_2") -> list[Body]:
    """AlpacaEval 1's ranking of the two answers of a prompt: the longer is the better."""
    answers = re.findall(r'"(?:answer|output)": """(.*?)"""', body["messages"][-1]["content"])
    best = first if len(answers[0]) > len(answers[1]) else second
    return [
        {"model": best, "rank": 1},
        {"model": second if best == first else first, "rank": 2},
    ]


def test_a_written_ranking_is_a_preference(judging: Judging, server: JudgeServer) -> None:
    server.says = lambda body: str(ranking(body))
    outputs = [*LONG[:15], *SHORT[15:]]
    rows = rows_of(judging(outputs, ["a middling answer"] * 30, **ASKED))
    assert [row["preference"] for row in rows] == [2] * 15 + [1] * 15
    assert {frozenset(body) for body in server.bodies} == {
        frozenset({"model", "messages", "max_tokens", "temperature"})
    }
    assert (server.bodies[0]["max_tokens"], server.bodies[0]["temperature"]) == (100, 0)
    assert server.bodies[0]["messages"][0]["content"].startswith("You are a helpful assistant, that ranks")


def test_both_orders_of_a_written_ranking(judging: Judging, server: JudgeServer) -> None:
    server.says = lambda _: str([{"model": "model_1", "rank": 1}, {"model": "model_2", "rank": 2}])
    rows = rows_of(judging(LONG, SHORT, **ASKED, both_orders=True))
    assert {row["preference"] for row in rows} == {1.5}  # who always prefers the first prefers nobody
    assert len(server.bodies) == 60


def test_a_thought_is_no_verdict_and_nothing_is_sent_that_is_refused(
    judging: Judging, server: JudgeServer
) -> None:
    thought = "<think>Perhaps [{'model': 'model_2', 'rank': 1}]?</think>\n"
    server.says = lambda body: f"{thought}```python\n{ranking(body)}\n```"
    asked = thinking("o4-mini", effort="low")
    rows = rows_of(judging(LONG, SHORT, annotator=asked.annotator, pairwise_sampling=asked.pairwise_sampling))
    assert {row["preference"] for row in rows} == {2}
    assert {frozenset(body) for body in server.bodies} == {
        frozenset({"model", "messages", "max_completion_tokens", "reasoning_effort"})
    }


def test_a_model_through_two_annotators_is_two_judges(
    judging: Judging, server: JudgeServer, tmp_path: Path
) -> None:
    server.says = lambda body: str(ranking(body))
    published = Path(shutil.copy(judging(LONG, SHORT), tmp_path / "published.json"))
    written = Path(shutil.copy(judging(LONG, SHORT, **ASKED), tmp_path / "written.json"))
    names = {file: {row["annotator"] for row in rows_of(file)} for file in (published, written)}
    assert names == {published: {"longer"}, written: {"longer (alpaca_eval_gpt4)"}}
    name, judge = find_benchmark(DEFAULT).judge_name, Judge(model="longer")
    assert {name(judge), name(judge.model_copy(update=ASKED))} == {"longer", "longer (alpaca_eval_gpt4)"}
    assert find_benchmark("mt_bench").judge_name(judge.model_copy(update=ASKED)) == "longer"
    asked = len(server.bodies)
    judging(LONG, SHORT, **ASKED)
    assert len(server.bodies) == asked  # the journal knows its requests by what was asked
    with pytest.raises(InputError, match=r"judged by longer and .* by longer \(alpaca_eval_gpt4\)"):
        compare(published, written)


def test_a_reply_without_a_ranking_is_no_judgment(judging: Judging, server: JudgeServer) -> None:
    refused = '"instruction": """question 3"""'

    def says(body: Body) -> str:
        asked = body["messages"][-1]["content"]
        return "Both are fine." if refused in asked else str(ranking(body))

    server.says = says
    rows = rows_of(judging(LONG, SHORT, **ASKED))
    assert [(n, row["no_judgment"]) for n, row in enumerate(rows) if row["preference"] is None] == [
        (3, "unparsed")
    ]
    assert len(server.bodies) == 32  # three rounds


def test_a_ranking_as_a_function_call(judging: Judging, server: JudgeServer) -> None:
    asked = find_preset("alpaca_eval_gpt4_turbo_fn")

    def call(preferred: str) -> bytes:
        models = [{"model": preferred, "rank": 1}, {"model": "Mm".replace(preferred, ""), "rank": 2}]
        function = {"name": "make_partial_leaderboard", "arguments": json.dumps({"ordered_models": models})}
        message = {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
        return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()

    server.raw = {f"question {number}": call("m") for number in range(30)}
    path = judging(LONG, SHORT, annotator=asked.annotator, pairwise_sampling=asked.pairwise_sampling)
    shown_first = {row["preference"] for row in rows_of(path)}
    assert shown_first == {1, 2}  # "m" is whichever answer was shown first
    called = server.bodies[0]["tool_choice"]["function"]["name"]
    assert called == "make_partial_leaderboard" and len(server.bodies[0]["tools"]) == 1


def test_annotators_are_taken_or_refused_by_name() -> None:
    taken = []
    for folder in sorted(path.parent for path in _configs().glob("*/configs.yaml")):
        try:
            annotator = find_annotator(folder.name)
        except InputError as error:
            assert folder.name in str(error)
            continue
        prompt = annotator.prompt.read_text()
        assert all(f"{{{name}}}" in prompt for name in ("instruction", "output_1", "output_2"))
        taken.append(annotator.name)
    assert {"weighted_alpaca_eval_gpt4_turbo", "alpaca_eval_gpt4", "alpaca_eval_gpt4_turbo_fn"} <= {*taken}
    assert {"claude", "cohere", "alpaca_farm", "lmsys_gpt4", "test"}.isdisjoint(taken)
    with pytest.raises(InputError, match=r"no annotator '\.\./x'"):
        find_annotator("../x")


def test_the_published_annotator_is_the_default() -> None:
    published = find_annotator()
    assert published.sampling == PAIRWISE_SAMPLING
    assert find_preset("weighted_alpaca_eval_gpt4_turbo").model == "gpt-4-1106-preview"


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_judges(name: str) -> None:
    judge = find_preset(name)
    assert (judge.dollars_per_million is None) == (judge.serve is not None)
    assert (judge.price_date == "") == (judge.serve is not None)
    if judge.pairwise_sampling.limit_name == "max_completion_tokens":
        assert judge.pairwise_sampling.temperature is None
    assert Judge.model_validate_json(judge.model_dump_json()) == judge


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"no judge preset 'gpt-9'; there are gpt-4\.1, .*qwen3-32b"):
        find_preset("gpt-9")


def test_another_annotator_is_another_judgment() -> None:
    judge = Judge(model="m", base_url="https://judge.example/v1")
    written = judge.model_copy(update=ASKED)
    assert judge_fingerprint(judge, "alpaca_eval") != judge_fingerprint(written, "alpaca_eval")
    assert "annotator" not in json.loads(judge.model_dump_json())  # stored judges stay what they were


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "<think>a</think> b "}, "b"),
        ({"content": "<think>cut off"}, ""),
        ({"content": "```\n[1]\n```"}, "[1]"),
        ({"content": "see ```[1]```"}, "see ```[1]```"),
        ({"tool_calls": [{"function": {"arguments": "{}"}}]}, "{}"),
        ({"tool_calls": [{"function": None}]}, ""),
        ({"tool_calls": "none", "content": None}, ""),
    ],
)
def test_what_a_reply_says_in_the_end(message: dict[str, Any], text: str) -> None:
    assert reply_text({"message": message}) == text


def test_the_file_says_by_whom(judging: Judging, server: JudgeServer, tmp_path: Path) -> None:
    server.says = lambda body: str(ranking(body))
    assert {row["annotator"] for row in rows_of(judging(LONG, SHORT, **ASKED))} == {
        "longer (alpaca_eval_gpt4)"
    }
