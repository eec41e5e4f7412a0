"""The Hub as a source, with the real client against a Hub on loopback; one fault a test."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.stores.hub import HubSource
from tasks.stores.open import open_source, reopen
from tasks.stores.source import engine_files
from tests.servers.hub import HubServer
from tests.stores.small_repo import FILES, REPO, WEIGHTS


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
