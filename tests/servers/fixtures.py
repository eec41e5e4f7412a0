"""Fixtures: a Hub on loopback for the client of this process, an S3 server, and stores of both kinds.

Every session loads this module, and few tests want its servers: what these need is imported in the fixtures.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.parts import lacks

if TYPE_CHECKING:
    from tasks.stores.artefact import Artefact, Store
    from tests.servers.hub import HubServer
    from tests.servers.s3 import S3Server


@pytest.fixture(scope="session")
def _hub_server() -> "Iterator[HubServer]":
    from tests.servers.hub import HubServer

    with HubServer() as server:
        yield server


@pytest.fixture
def hub(_hub_server: "HubServer", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "HubServer":
    """An empty Hub that huggingface_hub talks to, and an empty cache."""
    from tests.servers.hub import use_in_this_process

    _hub_server.clear()
    use_in_this_process(monkeypatch, _hub_server, tmp_path / "cache")
    monkeypatch.setattr("tasks.stores.open._opened", {})
    return _hub_server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every wait between tries, which are recorded and not waited for."""
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append)
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download", "tasks.stores.retry"):
        monkeypatch.setattr(f"{module}.time", clock)
    return waited


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[S3Server]":
    from tests.servers.s3 import S3Server, weed_program

    try:
        weed_program()
    except FileNotFoundError as missing:
        lacks("s3", str(missing))
    with S3Server(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3(s3_server: "S3Server", monkeypatch: pytest.MonkeyPatch) -> "Iterator[S3Server]":
    """A real S3 server that the AWS_* variables of this process name."""
    from tasks.stores.s3 import forget_clients

    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield s3_server
    forget_clients()


@pytest.fixture(scope="session")
def prefect_server(own_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prefect server's API, for all tests that do not mind what others have left on it."""
    from tests.servers.prefect import serve_prefect

    with serve_prefect(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def prefect(prefect_server: str) -> Iterator[str]:
    """The flows of this process report to a server: its URL."""
    from tests.servers.prefect import reporting_to

    with reporting_to(prefect_server):
        yield prefect_server


@pytest.fixture
def model(store: "Store", tmp_path: Path) -> "Artefact":
    """A whole model of a store, in a folder and in S3."""
    from tasks.weights.extrapolation import extrapolate
    from tasks.weights.planner import make_plan
    from tests.weights.checkpoints import pair

    wanted, aligned, sft = pair(tmp_path / "pair")
    made = store.artefact("models", wanted.fingerprint[:16])
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Store":
    """An empty store, once in a folder and once on S3."""
    from tasks.stores.artefact import Store
    from tests.servers.s3 import BUCKET

    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "expo-cache"))
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    request.getfixturevalue("s3")
    return Store(f"s3://{BUCKET}/{uuid4().hex}")
