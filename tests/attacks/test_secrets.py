"""Keys and passwords stay where they are: no child, no message and no file of others' sees them."""

import os
import pickle
import re
from pathlib import Path

import pytest
from huggingface_hub import constants
from pydantic import ValidationError

from tasks.benchmarks.judge_config import Judge
from tasks.comparison.decoding import ArmEndpoints
from tasks.core.append_file import AppendFile
from tasks.core.child import ENGINE, child_environment
from tasks.core.errors import PermanentError, RetryableError
from tasks.generation.answers import write_whole
from tasks.generation.settings import Endpoint
from tasks.publishing.commit import Published
from tasks.runtime.local_server import ALLOWED
from tasks.stores.open import open_source
from tasks.stores.s3 import forget_clients
from tests.servers.ports import reserve

SECRETS = {
    "OPENAI_API_KEY": "hidden-1",
    "JUDGE_KEY": "hidden-2",
    "MY_JUDGE": "hidden-3",
    "AWS_ACCESS_KEY_ID": "hidden-4",
    "AWS_SECRET_ACCESS_KEY": "hidden-5",
    "AWS_SESSION_TOKEN": "hidden-6",
    "HF_TOKEN": "hidden-7",
    "HF_ENDPOINT": "https://me:hidden-8@mirror.example",
    "HTTPS_PROXY": "http://me:hidden-9@proxy.example",
    "PREFECT_API_KEY": "hidden-10",
    "PREFECT_API_AUTH_STRING": "me:hidden-11",
    "VLLM_API_KEY": "hidden-12",
    "DATABASE_URL": "postgresql://me:hidden-13@db.example/x",
    "GITHUB_PAT": "hidden-14",
}
NEEDED = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "VLLM_LOGGING_LEVEL": "DEBUG", "HF_HOME": "/cache/hf"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("allowed", [ENGINE, ALLOWED, re.compile(".*")])
def test_no_child_gets_a_key_that_it_has_no_use_for(environment: None, allowed: re.Pattern[str]) -> None:
    given = child_environment(allowed)
    if allowed.pattern != ".*":
        assert not {name for name, value in given.items() if "hidden" in value}
    else:  # what is called a secret is none's, whatever is allowed
        assert not {"OPENAI_API_KEY", "JUDGE_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(given)


def test_an_engine_gets_what_it_needs(environment: None) -> None:
    assert NEEDED.items() <= child_environment(ENGINE).items()


def test_no_error_shows_the_password_of_a_url() -> None:
    error = RetryableError(
        "no connection to https://me:p@ss@host:1/v1 by 'http://me:pass@proxy': see hf://a@b"
    )
    assert str(error) == "no connection to https://host:1/v1 by 'http://proxy': see hf://a@b"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_no_message_of_s3_shows_the_password_of_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:hidden@127.0.0.1:{reserve()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    forget_clients()
    with pytest.raises((RetryableError, PermanentError)) as raised:
        open_source("s3://bucket/model")
    assert "hidden" not in str(raised.value)
    forget_clients()


def test_a_published_models_address_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:hidden@mirror.example")
    assert Published(repo_id="a/b", commit="c").url == "https://mirror.example/a/b/tree/c"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hidden@host/v1",
        "https://api.openai.com@collector.example/v1",
        "https://host/v1?key=hidden",
        "http://h/#hidden",
    ],
)
def test_an_address_with_a_key_in_it_is_refused_and_not_shown(url: str) -> None:
    for make in (
        lambda: Judge(model="m", base_url=url),
        lambda: Endpoint(base_url=url, model="m"),
        lambda: ArmEndpoints(base_url=url, original="a", expo="b"),
    ):
        with pytest.raises(ValidationError) as raised:
            make()
        assert "hidden" not in str(raised.value)


def test_journals_and_answers_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with AppendFile(tmp_path / "journal", busy="busy") as journal:
            journal.append(b"a private prompt")
        write_whole(tmp_path / "answers.json", b"[]")
    finally:
        os.umask(before)
    for name in ("journal", "answers.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
