"""The Hub as a source, with the real client against a Hub on loopback; one fault a test."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError
from tasks.stores.hub import HubSource
from tasks.stores.open import open_source, reopen
from tasks.stores.source import engine_files
from tests.servers.hub import HubServer

WEIGHTS = bytes(range(256)) * 2048
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same in the old form",
    "README.md": b"# A model\n",
    "original/params.json": b"{}",
}
REPO = "org/model"


def test_lists_reads_and_fetches_at_one_commit(hub: HubServer) -> None:
    commit = hub.add(REPO, FILES)
    source = open_source(REPO)

    assert source.checkpoint.uri == REPO
    assert source.checkpoint.commit == commit
    assert set(source.files()) == {"config.json", "model.safetensors", "pytorch_model.bin", "README.md"}
    assert source.files()["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert source.read("model.safetensors", 1000, 50) == WEIGHTS[1000:1050]
    assert source.read("model.safetensors", len(WEIGHTS) - 5, 50) == WEIGHTS[-5:]
    assert source.read("model.safetensors", len(WEIGHTS), 50) == b""
    assert source.read("config.json", 2, 10) == FILES["config.json"][2:12]
    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS


def test_a_range_costs_a_range(hub: HubServer) -> None:
    """A plan reads headers: if that fetched files, planning a 70B family would take a day."""
    hub.add(REPO, FILES)
    open_source(REPO).read("model.safetensors", 0, 8)
    assert hub.asked("GET /cdn/.* bytes=0-7$") == hub.asked("GET /cdn/") == 1


def test_what_is_cached_is_not_fetched_again(hub: HubServer) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    source.fetch("model.safetensors")
    source.fetch("model.safetensors")
    source.read("model.safetensors", 0, 8)
    assert hub.asked("GET /cdn/") == 1


def test_stays_at_its_commit_when_the_branch_moves(hub: HubServer) -> None:
    first = hub.add(REPO, FILES)
    source = open_source(REPO)
    moved = hub.add(REPO, FILES | {"model.safetensors": WEIGHTS[::-1]})

    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS
    assert reopen(source.checkpoint) is source
    assert open_source(REPO).checkpoint.commit == moved != first
    assert open_source(REPO, first).read("model.safetensors", 0, 9) == WEIGHTS[:9]


def test_opens_a_tag(hub: HubServer) -> None:
    commit = hub.add(REPO, FILES)
    hub.tag(REPO, "v1.0", commit)
    hub.add(REPO, {"config.json": b"{}"})
    assert open_source(REPO, "v1.0").checkpoint.commit == commit
    assert open_source(f"{REPO}@v1.0").checkpoint == open_source(REPO, commit).checkpoint


def test_reopening_a_commit_asks_the_hub_nothing(hub: HubServer) -> None:
    hub.add(REPO, FILES)
    checkpoint = open_source(REPO).checkpoint
    asked = len(hub.log)
    reopen(checkpoint)
    assert len(hub.log) == asked


def test_folder_holds_one_form_of_the_weights(hub: HubServer) -> None:
    hub.add(REPO, FILES)
    folder = open_source(REPO).folder()
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_engine_files_keep_pickles_that_have_no_other_form() -> None:
    names = ["config.json", "pytorch_model-00001-of-00002.bin", "model.gguf", "training_args.bin"]
    assert engine_files(names) == ["config.json", "pytorch_model-00001-of-00002.bin"]


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "original/params.json", "nothing"])
def test_gives_only_what_is_listed(hub: HubServer, name: str) -> None:
    hub.add(REPO, FILES)
    with pytest.raises(CorruptError, match="no file"):
        open_source(REPO).fetch(name)


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
    hub.bytes_per_second = 256 * 1024
    environment = os.environ | hub.environment(tmp_path)
    killed = subprocess.Popen([sys.executable, "-c", DOWNLOAD, REPO], env=environment)
    assert hub.wait_until_asked("GET /cdn/", times=6)  # four at once: two have come
    killed.kill()
    killed.wait()
    (part,) = (tmp_path / "hub").rglob("*.incomplete")
    had = part.stat().st_size
    assert had > 0
    hub.bytes_per_second = None
    hub.log.clear()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert open_source(REPO).fetch("model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked(f"GET /cdn/.* bytes={had}-{len(WEIGHTS) - 1}$") == hub.asked("GET /cdn/") == 1
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


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
    assert [process.wait(60) for process in both] == [0, 0]
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


def test_full_disk_is_told_before(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_too_many_requests_waits_as_told(hub: HubServer, waits: list[float]) -> None:
    hub.add(REPO, FILES)
    source = open_source(REPO)
    hub.fail("status", on="GET /cdn/", status=429, retry_after=7)
    assert source.read("model.safetensors", 0, 8) == WEIGHTS[:8]
    assert waits == [7.0]


def test_listing_waits_as_told(hub: HubServer, waits: list[float]) -> None:
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


def test_gated_repository_says_where_to_ask(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gated repository's listing is public: without a look at a file the refusal would come hours later."""
    hub.add(REPO, FILES, gated=True)
    with pytest.raises(PermanentError, match=f"accept the license at .*/{REPO} and set HF_TOKEN"):
        open_source(REPO)
    hub.repos[REPO].granted.add("hf_mine")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert open_source(REPO).fetch("model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("uri", "revision", "said"),
    [
        ("org/nothing", None, "org/nothing: no such repository"),
        (REPO, "v9", f"{REPO}@v9: no such revision"),
        ("not//an/id", None, "not a hub id"),
    ],
)
def test_wrong_input_names_it(hub: HubServer, uri: str, revision: str | None, said: str) -> None:
    hub.add(REPO, FILES)
    with pytest.raises(InputError, match=said):
        open_source(uri, revision)


def test_offline_from_a_complete_cache(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, FILES)
    online = open_source(REPO)
    online.folder()
    asked = len(hub.log)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    offline = HubSource(REPO)
    assert offline.checkpoint == online.checkpoint
    assert offline.fetch("model.safetensors").read_bytes() == WEIGHTS
    assert offline.files()["model.safetensors"] == online.files()["model.safetensors"]
    assert offline.folder() == online.folder()
    assert len(hub.log) == asked


def test_offline_from_a_cache_of_another_program(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older clients leave no listing: then the files there are, and their digest is their blob's name."""
    hub.add(REPO, FILES)
    path = open_source(REPO).fetch("model.safetensors")
    shutil.rmtree(tmp_path / "cache" / "models--org--model" / "trees")
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = HubSource(REPO)
    assert set(source.files()) == {"config.json", "model.safetensors"}
    path.resolve().write_bytes(b"\xff" + WEIGHTS[1:])
    with pytest.raises(CorruptError, match="digest"):
        source.fetch("model.safetensors")


def test_offline_names_what_is_missing(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client may return a cache of one file as a complete snapshot."""
    hub.add(REPO, FILES)
    open_source(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = HubSource(REPO)
    with pytest.raises(PermanentError, match=r"lacks.*model\.safetensors.*HF_HUB_OFFLINE"):
        source.folder()
    for use in (source.fetch, lambda name: source.read(name, 0, 8)):
        with pytest.raises(PermanentError, match=r"lacks model\.safetensors, README\.md; .*HF_HUB_OFFLINE"):
            use("model.safetensors")
    with pytest.raises(PermanentError, match="org/other: not in the cache"):
        HubSource("org/other")
