"""The Hub as a source when it or the machine fails: one fault a test."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.core.errors import CorruptError, PermanentError, RetryableError
from tasks.stores.open import open_source
from tests.servers.hub import HubServer
from tests.stores.small_repo import FILES, REPO, WEIGHTS
from tests.waiting import LIMIT, wait_until


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_corrupt_body_is_fetched_once_more(hub: HubServer, name: str) -> None:
    """The client keeps a flipped byte of the right size; a bad parent would be extrapolated."""
    hub.add(REPO, FILES | {"model.safetensors": WEIGHTS})
    hub.fail("corrupt", on="GET /cdn/|GET .*/config.json")
    assert open_source(REPO).fetch(name).read_bytes() == FILES[name]


def test_corrupt_body_twice_is_refused_and_leaves_nothing(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    hub.fail("corrupt", on="GET /cdn/", times=2)
    with pytest.raises(CorruptError, match=r"model\.safetensors.*digest"):
        source.fetch("model.safetensors")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.startswith("model.safe")]
    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS


def test_flipped_byte_in_the_cache_is_found(hub: HubServer) -> None:
    hub.add(REPO, FILES)
    path = open_source(REPO).fetch("model.safetensors")
    blob = path.resolve()
    blob.write_bytes(b"\xff" + WEIGHTS[1:])
    assert open_source(REPO).fetch("model.safetensors").read_bytes() == WEIGHTS


def test_dropped_connection_is_no_harm(hub: HubServer, waits: list[float]) -> None:
    hub.add(REPO, FILES)
    hub.fail("drop", on="GET /cdn/")
    assert open_source(REPO).fetch("model.safetensors").read_bytes() == WEIGHTS


def test_truncated_body_is_asked_again(hub: HubServer, waits: list[float]) -> None:
    """A proxy may end a body early and call it whole."""
    hub.add(REPO, FILES)
    hub.fail("truncate", on="GET /cdn/|GET .*/README.md", times=2)
    source = open_source(REPO)
    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS
    assert source.fetch("README.md").read_bytes() == FILES["README.md"]


def test_bodies_that_stay_truncated_are_retryable(hub: HubServer, waits: list[float]) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    hub.fail("truncate", on="GET /cdn/", times=100)
    with pytest.raises(RetryableError, match=r"model\.safetensors.*got"):
        source.fetch("model.safetensors")


DOWNLOAD = """
import sys
from tasks.stores import hub_download
from tasks.stores.open import open_source
hub_download.RANGE_BYTES = 64 * 1024
open_source(sys.argv[1]).fetch("model.safetensors")
"""


def test_killed_download_goes_on_where_it_stopped(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would start a killed download again at zero and leave its partial file for ever."""
    hub.add(REPO, FILES)
    hub.fail("stall", on="GET /cdn/", after=5, times=100)
    environment = os.environ | hub.environment(tmp_path)
    killed = subprocess.Popen([sys.executable, "-c", DOWNLOAD, REPO], env=environment)
    wait_until(lambda: any(map(_size, (tmp_path / "hub").rglob("*.incomplete"))), "a part of the file")
    killed.kill()
    killed.wait()
    (part,) = (tmp_path / "hub").rglob("*.incomplete")
    had = _size(part)
    hub.faults.clear()
    hub.log.clear()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert open_source(REPO).fetch("model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked(f"GET /cdn/.* bytes={had}-{len(WEIGHTS) - 1}$") == hub.asked("GET /cdn/") == 1
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


def _size(part: Path) -> int:
    return part.stat().st_size


def test_damaged_partial_file_is_begun_again(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    blobs = tmp_path / "cache" / "models--org--model" / "blobs"
    (blobs / f"{hashlib.sha256(WEIGHTS).hexdigest()}.expo.incomplete").write_bytes(b"not the beginning")
    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS


def test_two_processes_fetch_a_file_once(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    hub.bytes_per_second = 1024**2
    environment = os.environ | hub.environment(tmp_path)
    both = [subprocess.Popen([sys.executable, "-c", DOWNLOAD, REPO], env=environment) for _ in range(2)]
    assert [process.wait(LIMIT) for process in both] == [0, 0]
    assert hub.asked("GET /cdn/") == len(WEIGHTS) // (64 * 1024)


def test_orphans_of_the_client_are_removed(hub: HubServer, tmp_path: Path) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    blobs = tmp_path / "cache" / "models--org--model" / "blobs"
    old, young = blobs / "a.1.incomplete", blobs / "b.2.incomplete"
    for orphan in (old, young):
        orphan.write_bytes(b"half")
    os.utime(old, (0, 0))
    source.fetch("model.safetensors")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_full_disk_is_refused_beforehand(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(PermanentError, match="0 MB are free, 1 MB are needed; make room"):
        source.fetch("model.safetensors")
    assert hub.asked("GET /cdn/") == 0


def test_dropped_range_is_asked_again(hub: HubServer, waits: list[float]) -> None:
    hub.add(REPO, FILES)
    hub.fail("drop", on="GET /cdn/")
    assert open_source(REPO).read("model.safetensors", 0, 100_000) == WEIGHTS[:100_000]


def test_server_that_ignores_ranges_is_refused(hub: HubServer) -> None:
    """Each range would bring the whole file into memory."""
    hub.add(REPO, FILES)
    hub.fail("whole", on="GET /cdn/")
    with pytest.raises(PermanentError, match="ignores range requests"):
        open_source(REPO).read("model.safetensors", 8, 8)


def test_too_many_requests_waits_as_long_as_asked(hub: HubServer, waits: list[float]) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    hub.fail("status", on="GET /cdn/", status=429, retry_after=7)
    assert source.read("model.safetensors", 0, 8) == WEIGHTS[:8]
    assert waits == [7.0]


def test_listing_waits_as_long_as_asked(hub: HubServer, waits: list[float]) -> None:
    """The client gives up at once when a listing is refused for too many requests."""
    hub.add(REPO, FILES)
    hub.fail("status", on="/api/models/", status=429, retry_after=42)
    hub.fail("status", on="/api/models/", status=503)
    assert open_source(REPO).files()
    assert waits[0] == 42
    assert 1 < waits[1] < 4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_hub_is_retryable(hub: HubServer, waits: list[float], status: int) -> None:
    hub.add(REPO, FILES)
    hub.fail("status", on="/api/models/", status=status, times=100)
    with pytest.raises(RetryableError, match=str(status)):
        open_source(REPO)


@pytest.mark.parametrize("on", ["HEAD .*/model.safetensors", "GET /cdn/"])
def test_busy_storage_is_retryable(hub: HubServer, waits: list[float], on: str) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    hub.fail("status", on=on, status=503, times=100)
    with pytest.raises(RetryableError, match="503"):
        source.fetch("model.safetensors")


def test_unreachable_hub_is_retryable(
    hub: HubServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RetryableError, match=r"127\.0\.0\.1:9"):
        open_source(REPO)
