"""Fixtures: two checkpoints to stream, on this disk and on the Hub."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tasks.stores.folder_source import FolderSource
from tasks.weights import streaming
from tasks.weights.jobs import Plan
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.stores.straight_to_hub import SHARDS, plan_at
from tests.stores.streamed import moved, random_tensors
from tests.waiting import wait_until
from tests.weights.checkpoints import write_checkpoint


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thousand bytes and no tolerance for gaps: as many requests as a real checkpoint would take."""
    monkeypatch.setattr(streaming, "RANGE_BYTES", 1000)
    monkeypatch.setattr(streaming, "GAP_BYTES", 0)
    monkeypatch.setattr(streaming, "EDGE_BYTES", 5000)
    yield
    # after an error nobody waits for these: they would ask again in the next test
    wait_until(lambda: not _readers(), "the end of the threads that read ahead")


def _readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(streaming.READERS)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[FolderSource, FolderSource]:
    """Shards 1 and 2 of the aligned side have the cuts of the SFT side's; the others have not."""
    new = random_tensors()
    aligned = write_checkpoint(tmp_path / "aligned", new, cuts=[1, 2, 4])
    return aligned, write_checkpoint(tmp_path / "sft", moved(new), cuts=[1, 2, 5])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "expo-cache"))
    return tmp_path / "expo-cache"


@pytest.fixture
def plan(hub: HubServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Of two checkpoints on the Hub, a tensor in each of their shards."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    generator = torch.Generator().manual_seed(7)
    new = {f"layers.{n}.weight": torch.randn(64, 64, generator=generator) for n in range(SHARDS)}
    old = {name: tensor + 0.01 for name, tensor in new.items()}
    for name, tensors in (("aligned", new), ("sft", old)):
        hub.add(f"org/{name}", write_checkpoint(tmp_path / name, tensors, cuts=range(1, SHARDS)).folder())
    return plan_at()
