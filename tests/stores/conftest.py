"""Fixtures: a Hub on loopback for the client of this process, and its waits without the waiting."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.servers.hub import HubServer, use_in_this_process


@pytest.fixture(scope="session")
def _hub_server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(_hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    """An empty Hub that huggingface_hub talks to, and an empty cache."""
    _hub_server.clear()
    use_in_this_process(monkeypatch, _hub_server, tmp_path / "cache")
    monkeypatch.setattr("tasks.stores.source._opened", {})
    return _hub_server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client would have waited between tries; it does not wait."""
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    monkeypatch.setattr("huggingface_hub.file_download.time", clock)
    return waited
