"""A reply is data from outside: an odd one is one item without a judgment, kept and counted."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.benchmarks.asking import ask_all
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import Journal
from tasks.core.errors import PermanentError, RetryableError
from tasks.generation.completions import parse_completion, text_of
from tests.benchmarks.answers import LONG, SHORT, rows_of
from tests.servers.judge import JudgeServer

Judging = Callable[..., Path]

USAGE = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
MESSAGE = {"role": "assistant", "content": "m"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": "m", "usage": USAGE},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None, "logprobs": None}], "usage": {"prompt_tokens": None}},
        {
            "choices": [{"message": {"content": [{"type": "text", "text": "m"}]}}],
            "usage": {"total_tokens": 1.5},
        },
        {"choices": [{"message": MESSAGE, "logprobs": {"content": [{"top_logprobs": [{"logprob": -1}]}]}}]},
        {"choices": [{"message": MESSAGE, "logprobs": {"content": [{"top_logprobs": [{"token": "m"}]}]}}]},
        {"choices": [{"message": MESSAGE, "logprobs": {"content": [{"top_logprobs": "mM"}]}}]},
        [],
        "half \ud83d",
    ],
)
def test_a_reply_of_any_shape_costs_one_item(
    body: dict[str, Any] | list[Any] | str,
    judging: Judging,
    server: JudgeServer,
    tmp_path: Path,
) -> None:
    server.raw = {"question 7": json.dumps(body).encode()}
    rows = rows_of(judging(LONG, SHORT, rounds=1))
    assert [row["preference"] is None for row in rows] == [index == 7 for index in range(30)]
    journal = (tmp_path / "judging/journal.jsonl").read_text().splitlines()
    assert len(journal) == 30, "the odd reply was paid for, and is kept"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 100_000, b"", b'{"choices": [{"message": NaN}]}', b"9" * 5000]
)
def test_bytes_that_are_no_json_cost_one_item(content: bytes, judging: Judging, server: JudgeServer) -> None:
    server.raw = {"question 7": content}
    rows = rows_of(judging(LONG, SHORT, rounds=1))
    assert [row["preference"] is None for row in rows] == [index == 7 for index in range(30)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "usage", "message", "content", "total_tokens", "prompt_tokens"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_a_reply(value: Any) -> None:  # noqa: ANN401
    reply = parse_completion(json.dumps(value))
    assert isinstance(reply.choice, dict) and isinstance(text_of(reply.choice), str)
    assert min(reply.prompt_tokens, reply.completion_tokens) >= 0
    json.dumps(reply.choice, allow_nan=False)


@given(st.text(max_size=60))
def test_any_text_is_a_reply(text: str) -> None:
    assert isinstance(parse_completion(text).choice, dict)


def test_what_is_counted_is_what_is_a_number() -> None:
    body = {"choices": [{"message": MESSAGE}], "usage": {"prompt_tokens": 7, "completion_tokens": None}}
    assert parse_completion(json.dumps(body)) == ({"message": MESSAGE}, 7, 0)


def test_a_reply_that_drips_is_given_up(judging: Judging, server: JudgeServer) -> None:
    """Each byte comes in time, and the whole would come, were the limit not one of the whole request."""
    server.fail("drip", on={"question 2"})
    with pytest.raises(RetryableError, match=r"no answer within 1 s"):
        judging(LONG[:3], SHORT[:3], timeout_s=1, retries=0, rounds=1)


def test_a_judge_that_says_how_long_is_waited_for(
    judging: Judging, server: JudgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.retry_after = "6"
    server.fail("429", on={1})
    caplog.set_level(logging.INFO, "expo")
    start = time.monotonic()
    judging(LONG[:3], SHORT[:3])
    assert time.monotonic() - start >= 6 and "busy, waiting 6 s" in caplog.text
    assert len(server.bodies) == 4


def test_a_judge_that_says_too_long_is_not_waited_for(judging: Judging, server: JudgeServer) -> None:
    server.retry_after = "3600"
    server.fail("429")
    with pytest.raises(RetryableError, match="0 of 3 items were judged"):
        judging(LONG[:3], SHORT[:3], max_wait_s=60, rounds=1)
    assert len(server.bodies) == 3


def test_replies_that_say_nothing_end_the_judging_early(
    judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    server.says = lambda _: "I would rather not"
    requests = [
        {"model": "longer", "messages": [{"role": "user", "content": f"rate {n}"}], "max_tokens": 9}
        for n in range(160)
    ]
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(
            PermanentError, match="20 requests in a row failed; no judgment in the answer 'I would"
        ),
    ):
        ask_all(
            requests,
            judge,
            journal,
            defect=lambda _: "",
            says_something=lambda choice: "[[" in text_of(choice),
            advance=lambda _: None,
        )
    assert len(server.bodies) < 40


def test_too_few_judgments_name_an_option_that_exists(judging: Judging, server: JudgeServer) -> None:
    from typer.testing import CliRunner

    from flows.cli.main import app

    server.fail("400", on={f"question {index}" for index in range(4)})
    with pytest.raises(PermanentError, match="--min-judged"):
        judging(LONG, SHORT)
    described = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    for option in (
        "--min-judged",
        "--judge-timeout",
        "--judge-retries",
        "--judge-concurrency",
        "--judge-max-wait",
    ):
        assert option in described
