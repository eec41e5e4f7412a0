"""Files that no manifest references are found and removed; what is whole, young or paid for stays."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.gc import find_orphans, remove
from tasks.stores.lease import release_lease
from tasks.stores.local import SCRATCH
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import pair

NOW = timedelta(0)
HALF = "ab" * 8


@pytest.fixture
def model(store: Store, tmp_path: Path) -> Artefact:
    """A whole model of a store."""
    wanted, aligned, sft = pair(tmp_path / "pair")
    made = store.artefact("models", wanted.fingerprint[:16])
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made


@pytest.fixture(autouse=True)
def _own_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_tidy_store_has_none(store: Store, model: Artefact) -> None:
    assert find_orphans(store.uri, NOW) == ()


def test_unfinished_and_stray(store: Store, model: Artefact) -> None:
    half = store.artefact("models", HALF)
    half.write("model-00001-of-00002.safetensors", bytes(1000))
    store.artefact("judgments", HALF).write("judgments.jsonl", b"paid for")
    Artefact(f"{store.uri}/notes").write("mine.txt", b"somebody else's folder")
    shard = "model-00001-of-00003.safetensors"
    Artefact(model.uri)._files.copy_in(_file(model, shard), "model-00004-of-00004.safetensors")
    for artefact in (half, model):  # whose writers are gone
        release_lease(Path(artefact.uri) / SCRATCH)

    found = find_orphans(store.uri, NOW)
    expected = {
        ("stray", f"{model.uri.removeprefix(store.uri)}/model-00004-of-00004.safetensors"),
        ("unfinished", f"/models/{HALF}"),
    }
    listed = {(orphan.kind, orphan.place.removeprefix(store.uri)) for orphan in found}
    assert {orphan for orphan in listed if orphan[0] != "cache"} == expected
    assert next(orphan for orphan in found if orphan.kind == "unfinished").bytes == 1000
    assert find_orphans(store.uri, timedelta(days=1)) == ()

    for orphan in found:
        remove(orphan)
    assert find_orphans(store.uri, NOW) == ()
    assert model.manifest()
    assert half.names() == []
    assert store.artefact("judgments", HALF).read("judgments.jsonl") == b"paid for"
    assert Artefact(f"{store.uri}/notes").read("mine.txt")


def test_an_artefact_finished_meanwhile_stays(store: Store) -> None:
    artefact = store.artefact("generations", HALF)
    artefact.write("answers.json", b"[]")
    release_lease(Path(artefact.uri) / SCRATCH)
    (found,) = (orphan for orphan in find_orphans(store.uri, NOW) if orphan.kind == "unfinished")
    artefact.seal(b"{}")
    remove(found)
    assert artefact.names() == ["answers.json", MANIFEST]


def test_an_old_cache(store: Store, tmp_path: Path) -> None:
    """Parts on their way to S3, copies on their way to the Hub, partial downloads; never whole files."""
    store.mark()
    cache, blobs = tmp_path / "expo-cache", tmp_path / "hub" / "models--org--name" / "blobs"
    orphans = [
        cache / "parts" / "a1" / "x.part",
        cache / "publish" / "b2" / "y",
        blobs / "c.expo.incomplete",
    ]
    whole = [blobs / "whole", cache / "s3" / "d" / "config.json"]
    for path in (*orphans, *whole):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10))
    os.utime(orphans[2], (0, 0))
    (old,) = find_orphans(store.uri, timedelta(days=7))
    assert (old.kind, old.place, old.bytes) == ("cache", str(orphans[2]), 10)
    for orphan in find_orphans(store.uri, NOW):
        remove(orphan)
    assert not any(path.exists() for path in orphans)
    assert all(path.exists() for path in whole)


def _file(artefact: Artefact, name: str) -> Path:
    return artefact.fetch(name, Path(os.environ["EXPO_CACHE"]) / "copies")
