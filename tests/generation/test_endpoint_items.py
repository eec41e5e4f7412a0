"""One item that an endpoint refuses or answers oddly: an empty answer with its cause, and the run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import PermanentError
from tasks.generation import endpoint as module
from tasks.generation.answer_journal import most_complete
from tasks.generation.answers import answers_file
from tasks.generation.endpoint_reply import answer_of, units
from tasks.generation.process import generate, job_fingerprint
from tasks.generation.reply_journal import REPLIES, ReplyJournal
from tasks.generation.rounds import answers_in_order
from tasks.generation.settings import GenerationJob
from tests.generation.conftest import COUNT
from tests.servers.judge import JudgeServer

ALL = 2 * COUNT
FILTER = {"code": "content_filter", "message": "The response was filtered"}
LONG = {"message": "This model's maximum context length is 512 tokens, you asked for 900"}


@pytest.fixture
def lenient(job: GenerationJob) -> GenerationJob:
    """A tenth of the answers may fail: one of twelve."""
    return job.model_copy(update={"max_failed": 0.1})


def no_progress(_count: int) -> None:
    pass


def first_turns(job: GenerationJob) -> list[str]:
    text = (Path(job.output) / answers_file("mt_bench", "dialogues")).read_text()
    return [json.loads(line)["choices"][0]["turns"][0] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        ("400", FILTER, "content_filter"),
        ("400", LONG, "context_length"),
        ("400", {}, "refused"),
        ("403", {}, "refused"),
        ("413", {}, "context_length"),
        ("422", {}, "refused"),
    ],
)
def test_a_refused_item_is_an_empty_answer_that_is_not_asked_for_again(
    status: str, error: dict[str, Any], cause: str, server: JudgeServer, lenient: GenerationJob
) -> None:
    server.error = error
    server.fail(status, on={"Q2"})
    (summary,) = generate([lenient], advance=no_progress)
    assert summary.failures == {cause: 1} and summary.finish_reasons == {cause: 1, "stop": ALL - 1}
    assert (summary.count, summary.empty) == (ALL, 1)
    assert [not text for text in first_turns(lenient)] == [number == 2 for number in range(COUNT)]
    found = most_complete(Path(lenient.output), job_fingerprint(lenient))
    assert found
    (refused,) = (answer for answer in answers_in_order(found[1]) if answer.failure)
    assert f"status {status}" in refused.reply
    server.fail(None)
    generate([lenient], advance=no_progress)
    assert len(server.bodies) == ALL


def test_more_failures_than_the_share_end_it_and_a_larger_share_goes_on(
    server: JudgeServer, job: GenerationJob
) -> None:
    server.fail("403", on={"Q2"})
    message = (
        r"served: 1 of 12 answers were not given \(1 refused\), more than the 5%.*status 403.*--max-failed"
    )
    with pytest.raises(PermanentError, match=message):
        generate([job], advance=no_progress)
    asked = len(server.bodies)
    assert asked == 4, "the first batch alone"
    with pytest.raises(PermanentError, match="1 of 12"):
        generate([job], advance=no_progress)
    assert len(server.bodies) == asked, "refused at once"
    server.fail(None)
    (summary,) = generate([job.model_copy(update={"max_failed": 0.1})], advance=no_progress)
    assert len(server.bodies) == ALL and summary.failures == {"refused": 1}


def test_a_failure_in_the_last_batch_is_refused_too_and_when_asked_again(
    server: JudgeServer, job: GenerationJob
) -> None:
    server.fail("403", on={"R5"})
    for _ in range(2):
        with pytest.raises(PermanentError, match="1 of 12 answers were not given"):
            generate([job], advance=no_progress)
    assert len(server.bodies) == ALL


def test_a_key_that_is_refused_later_is_no_items_fault(server: JudgeServer, lenient: GenerationJob) -> None:
    server.fail("401", on={"Q5"})
    with pytest.raises(PermanentError, match="status 401"):
        generate([lenient], advance=no_progress)


BODIES: list[Any] = [
    {},
    [],
    "half \ud83d",
    {"choices": []},
    {"choices": [None]},
    {"choices": [{}]},
    {"choices": [{"message": None}]},
    {"choices": [{"message": {"content": [{"type": "text", "text": "x"}]}}]},
    {"choices": [{"message": {"content": 3}}], "usage": {"completion_tokens": None}},
]


@pytest.mark.parametrize(
    "body", [*(json.dumps(body).encode() for body in BODIES), b"\xff\xfe", b"[" * 99999, b""]
)
def test_a_bad_reply_costs_one_item_and_is_kept(
    body: bytes, server: JudgeServer, lenient: GenerationJob
) -> None:
    server.raw = {"Q2": body}
    (summary,) = generate([lenient], advance=no_progress)
    assert summary.failures == {"bad_reply": 1} and len(server.bodies) == ALL
    assert [not text for text in first_turns(lenient)] == [number == 2 for number in range(COUNT)]
    kept = [json.loads(line)["body"] for line in (Path(lenient.output) / REPLIES).read_text().splitlines()]
    assert len(kept) == ALL and body.decode(errors="replace") in kept


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "cause"), [("drip", "timeout"), ("drop", "dropped")])
def test_a_reply_that_does_not_come_costs_one_item(
    fault: str, cause: str, server: JudgeServer, lenient: GenerationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 8.0)  # seconds; the whole reply drips for half a minute
    server.fail(fault, on={"Q2"})
    (summary,) = generate([lenient], advance=no_progress)
    assert summary.failures == {cause: 1}


def test_nothing_but_bad_replies_is_a_server_that_is_none(
    server: JudgeServer, lenient: GenerationJob
) -> None:
    server.fail("422")
    with pytest.raises(PermanentError, match="status 422"):
        generate([lenient], advance=no_progress)
    assert len(server.bodies) == 4, "no more than a batch"


@pytest.mark.parametrize(
    ("message", "reason", "output", "failure"),
    [
        ({"content": "text"}, "stop", "text", ""),
        ({"content": None}, "length", "", ""),
        ({"content": ""}, "content_filter", "", "content_filter"),
        ({"content": "begun"}, "content_filter", "begun", ""),
        ({"content": None, "refusal": "I cannot"}, "stop", "", "refused"),
        ({"content": "half \ud83d and \0"}, None, "half \ufffd and \ufffd", ""),
        ({"content": ["text"]}, "stop", "", "bad_reply"),
    ],
)
def test_what_a_message_means(message: dict[str, Any], reason: str | None, output: str, failure: str) -> None:
    answer = answer_of(json.dumps({"choices": [{"message": message, "finish_reason": reason}]}))
    assert (answer.output, answer.failure) == (output, failure)


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("the cat " * 40, True),
        ("我不知道。" * 20, True),
        ("ไม่รู้ " * 20, True),
        ("这是一个关于春天的短诗,它讲述了花朵、河流和远山,以及一个孩子第一次看见大海时的心情。" * 1, False),
        ("an ordinary answer without any end in a loop of the words that it holds " * 1, False),
    ],
)
def test_repetition_is_found_with_and_without_spaces_between_words(text: str, looping: bool) -> None:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "length"}]}
    assert answer_of(json.dumps(body)).looping is looping


def test_a_mixed_text_is_words_and_characters() -> None:
    assert units("GPT 是什么? ok") == ["GPT", "是", "什", "么", "?", "ok"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "usage", "message", "content", "refusal", "finish_reason", "completion_tokens"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON | st.builds(lambda choice: {"choices": [choice]}, JSON))
def test_any_json_is_one_answer(value: Any) -> None:  # noqa: ANN401
    answer = answer_of(json.dumps(value))
    assert answer.tokens >= 0 and (not answer.failure or not answer.output)
    answer.model_dump_json().encode()


@given(st.text(max_size=60))
def test_any_text_is_one_answer(text: str) -> None:
    assert answer_of(text).failure == "bad_reply"


@given(junk=st.binary(max_size=40))
def test_a_damaged_line_of_replies_is_asked_again(
    junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("replies")
    with ReplyJournal(folder) as journal:
        journal.add("a", "reply \u2028\n")
    with (folder / REPLIES).open("ab") as file:
        file.write(junk + b'\n{"body": 3, "key": "a"}\n')
    with ReplyJournal(folder) as journal:
        assert journal.get("a") == "reply \u2028\n" and journal.get("b") is None
        journal.add("b", "x")
    with ReplyJournal(folder) as journal:
        assert journal.get("b") == "x"
