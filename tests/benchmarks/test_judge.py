"""What decides a judgment is in the judge's fingerprint, and nothing else is."""

import pytest

from tasks.benchmarks.judge import Judge, api_key
from tasks.errors import InputError

REMOTE = Judge(model="m", base_url="https://judge.example/v1")
LOCAL = Judge(model="m", base_url="http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    ("one", "changes"),
    [
        (LOCAL, {"base_url": "http://localhost:9000/v1"}),
        (REMOTE, {"max_concurrency": 1, "timeout_s": 1, "retries": 0, "rounds": 1}),
        (REMOTE, {"api_key_env": "OTHER_KEY"}),
        (REMOTE, {"min_judged": 0.5}),
    ],
)
def test_what_was_paid_for_is_found_again(one: Judge, changes: dict[str, object]) -> None:
    """A local judge has another port in each run; a slower judging is the same judging."""
    assert one.fingerprint == one.model_copy(update=changes).fingerprint


@pytest.mark.parametrize(
    "changes", [{"model": "n"}, {"seed": 1}, {"base_url": "https://other.example/v1"}, {"base_url": None}]
)
def test_another_judge_never_finds_it(changes: dict[str, object]) -> None:
    assert REMOTE.fingerprint != REMOTE.model_copy(update=changes).fingerprint


def test_openai_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="set the environment variable OPENAI_API_KEY"):
        api_key(Judge(model="gpt-4"))
    assert api_key(LOCAL) == "none"
