"""An endpoint in the engine's place: the same journal, each way it can fail, and no key in an error."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ExpoError, InputError, PermanentError, RetryableError
from tasks.generation.answer_journal import journal_file
from tasks.generation.answers import answers_file
from tasks.generation.process import generate
from tasks.generation.settings import Endpoint, GenerationJob
from tests.generation.conftest import COUNT
from tests.servers.judge import JudgeServer


def no_progress(_count: int) -> None:
    pass


def turns(job: GenerationJob) -> list[list[str]]:
    text = (Path(job.output) / answers_file("mt_bench", "dialogues")).read_text()
    return [json.loads(line)["choices"][0]["turns"] for line in text.splitlines()]


def test_two_turns_with_everything_that_was_set(server: JudgeServer, job: GenerationJob) -> None:
    answered: list[int] = []
    (summary,) = generate([job], advance=answered.append, python="/no/such/python")
    assert turns(job)[2] == ["Q2 102", "R2 108"]
    assert summary.count == sum(answered) == 2 * COUNT
    assert summary.engine == f"tiny at {server.url}" and summary.first_prompt_ids == ()
    first, last = server.bodies[0], max(server.bodies, key=lambda body: len(body["messages"]))
    expected: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 50,
        "stop": ["<|x|>"],
        "model": "tiny",
    }
    assert expected.items() <= first.items() and first["max_tokens"] == 2048
    assert [message["role"] for message in last["messages"]] == ["user", "assistant", "user"]


def test_answers_in_whole_batches_are_kept(server: JudgeServer, job: GenerationJob) -> None:
    server.fail("500", on={6})  # in the second batch
    with pytest.raises(RetryableError, match=r"status 500.*only the rest"):
        generate([job], advance=no_progress)
    assert (Path(job.output) / journal_file(0)).read_bytes().count(b"\n") == 2
    asked = len(server.bodies)
    server.fail(None)
    answered: list[int] = []
    generate([job], advance=answered.append)
    assert len(server.bodies) - asked == 2 * COUNT - 5 and sum(answered) == 2 * COUNT
    assert turns(job) == [[f"Q{n} {100 + n}", f"R{n} {106 + n}"] for n in range(COUNT)]


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("429", RetryableError, "status 429"),
        ("text", RetryableError, "no chat completion"),
        ("broken", RetryableError, "no chat completion"),
        ("drop", RetryableError, "cannot be reached"),
        ("400", PermanentError, "top_k is none of OpenAI's"),
        ("401", PermanentError, "its key"),
        ("403", PermanentError, "its key"),
        ("404", PermanentError, "the model's name there"),
    ],
)
def test_failures_say_what_to_do(
    server: JudgeServer,
    job: GenerationJob,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    kind: type[ExpoError],
    message: str,
) -> None:
    monkeypatch.setenv("THE_KEY", "sk-hidden")
    assert job.endpoint
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", f"{job.endpoint.base_url}=THE_KEY")
    job = job.model_copy(update={"endpoint": job.endpoint.model_copy(update={"api_key_env": "THE_KEY"})})
    server.fail(fault)
    with pytest.raises(kind, match=message) as caught:
        generate([job], advance=no_progress)
    assert "sk-hidden" not in str(caught.value)


def test_a_key_that_is_not_set(job: GenerationJob, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.endpoint
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", f"{job.endpoint.base_url}=NO_SUCH_KEY")
    keyed = job.endpoint.model_copy(update={"api_key_env": "NO_SUCH_KEY"})
    with pytest.raises(InputError, match=r"\$NO_SUCH_KEY is not set"):
        generate([job.model_copy(update={"endpoint": keyed})], advance=no_progress)


def test_a_key_in_the_address_is_refused() -> None:
    with pytest.raises(ValueError, match="base_url"):
        Endpoint(base_url="http://me:secret@127.0.0.1/v1", model="m")
