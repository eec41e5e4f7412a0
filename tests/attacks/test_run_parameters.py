"""What a run's parameters may decide on a worker: anybody who reaches the Prefect server can set them."""

from pathlib import Path

import pytest

from flows.cli.generation_options import make_generation
from tasks.benchmarks.judge_config import Judge, ServeConfig, api_key
from tasks.benchmarks.serving import serving
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError
from tasks.core.worker import check_function, check_root, key_variable, without_credentials
from tasks.generation.endpoint import _client
from tasks.generation.settings import Endpoint
from tasks.stores.open import open_source
from tests.weights.checkpoints import pair

ELSEWHERE = "https://collector.example/v1"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("HF_TOKEN", "hf-hidden")


@pytest.mark.parametrize(
    "url",
    [
        ELSEWHERE,
        "https://api.openai.com.collector.example/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com/v1/../collect",
    ],
)
def test_openais_key_goes_to_openais_address_alone(url: str) -> None:
    assert key_variable("https://api.openai.com@collector.example/v1") is None
    assert api_key(Judge(model="m", base_url=url)) == "none"
    assert api_key(Judge(model="m")) == "sk-of-openai"
    assert api_key(Judge(model="m", base_url="https://API.openai.com:443/v1/")) == "sk-of-openai"


@pytest.mark.slow
@pytest.mark.parametrize("url", [ELSEWHERE, None])
def test_no_parameter_names_the_variable_that_is_sent(url: str | None) -> None:
    with pytest.raises(InputError, match=r"this worker sends .* not HF_TOKEN") as raised:
        api_key(Judge(model="m", base_url=url, api_key_env="HF_TOKEN"))
    assert "hf-hidden" not in str(raised.value)
    if url:
        with pytest.raises(InputError, match="not HF_TOKEN"):
            _client(Endpoint(base_url=url, model="m", api_key_env="HF_TOKEN"))


def test_the_worker_binds_a_key_to_its_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "EXPO_ENDPOINT_KEYS", "https://judge.example/v1=JUDGE_KEY http://127.0.0.1:8000/v1=LOCAL_KEY"
    )
    monkeypatch.setenv("JUDGE_KEY", "sk-of-judge")
    assert api_key(Judge(model="m", base_url="https://judge.example/v1/")) == "sk-of-judge"
    assert api_key(Judge(model="m", base_url="https://judge.example/v2")) == "none"
    with pytest.raises(InputError, match="set the environment variable LOCAL_KEY"):
        api_key(Judge(model="m", base_url="http://127.0.0.1:8000/v1"))
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", "https://me:hidden@judge.example")
    with pytest.raises(InputError, match="not of the form URL=VARIABLE") as raised:
        key_variable(ELSEWHERE)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("key", ["sk-\nX-Other: y", "sk-ключ", " sk "])
def test_a_key_that_is_no_header_is_said_at_once_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="OPENAI_API_KEY to its API key, printable ASCII") as raised:
        api_key(Judge(model="m"))
    assert key not in str(raised.value)


def test_the_command_may_name_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_ENDPOINT_KEYS", "")
    made = make_generation(
        endpoint_url="http://127.0.0.1:8000/v1", endpoint_models=("a", "b"), endpoint_key_env="MINE"
    )
    assert made.endpoint and key_variable(made.endpoint.base_url, "MINE") == "MINE"


def test_a_judges_own_python_runs_only_where_the_worker_trusts_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path)
    folder = str(tmp_path / "aligned")
    judge = Judge(model="m", serve=ServeConfig(checkpoint=folder, trust_remote_code=True))
    with (
        pytest.raises(InputError, match=r"its own Python does not run here.*EXPO_TRUSTED_JUDGES"),
        serving(judge, tmp_path / "log"),
    ):
        pass
    monkeypatch.setenv("EXPO_TRUSTED_JUDGES", folder)
    with pytest.raises(InputError, match="names no commit"), serving(judge, tmp_path / "log"):
        pass
    assert not (tmp_path / "log").exists(), "a server was started"


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "tasks.demo.rule:score.__globals__"])
def test_no_parameter_names_python_that_runs(name: str) -> None:
    with pytest.raises(InputError, match="no parameter of a run decides what Python runs"):
        check_function(name)


def test_stores_and_files_lie_in_the_roots_that_the_worker_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.expo import check_run

    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(tmp_path)
    monkeypatch.setenv("EXPO_ALLOWED_ROOTS", f"{allowed} s3://bucket/team")
    for place in (str(allowed), str(allowed / "deep/er"), "s3://bucket/team", "s3://bucket/team/store"):
        check_root("store", place)
    outside = [str(tmp_path), f"{allowed}/../x", str(allowed / "link/x"), f"{allowed}2", "/", "~"]
    for place in (*outside, "s3://bucket", "s3://bucket/team2", "s3://bucket/team/../x", "s3://other/team"):
        with pytest.raises(InputError, match="EXPO_ALLOWED_ROOTS"):
            check_root("store", place)
    with pytest.raises(InputError, match=r"store .*EXPO_ALLOWED_ROOTS"):
        check_run((), RunConfig(store=str(tmp_path)))


def test_a_folder_that_is_called_like_a_hub_id_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path / "org")
    monkeypatch.chdir(tmp_path)
    for uri in ("org/aligned", "org"):
        with pytest.raises(InputError, match=rf"write \./{uri} for the folder, or hf://{uri} for the Hub"):
            open_source(uri)
    assert open_source("./org/aligned").checkpoint.uri == str(tmp_path / "org/aligned")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host:1/v1?key=secret#secret", "https://host:1/v1"),
        ("http://a@b:secret@host/v1", "http://host/v1"),
    ],
)
def test_an_address_is_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
