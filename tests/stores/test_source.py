"""Folders and S3 prefixes as sources."""

import hashlib
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.stores.artefact import Artefact, Store
from tasks.stores.open import open_source, reopen

WEIGHTS = bytes(range(256)) * 1000


@pytest.fixture
def model(store: Store) -> Artefact:
    """A checkpoint that lies in a store."""
    artefact = store.artefact("models", "a1b2")
    artefact.write("config.json", b"{}")
    artefact.write("model.safetensors", WEIGHTS)
    return artefact


def test_reads_ranges_and_fetches(model: Artefact) -> None:
    source = open_source(model.uri)
    assert {name: info.size for name, info in source.files().items()} == {
        "config.json": 2,
        "model.safetensors": len(WEIGHTS),
    }
    assert source.read("model.safetensors", 300, 9) == WEIGHTS[300:309]
    assert source.read("model.safetensors", len(WEIGHTS) - 2, 9) == WEIGHTS[-2:]
    assert source.read("model.safetensors", len(WEIGHTS) + 2, 9) == b""
    assert source.fetch("model.safetensors").read_bytes() == WEIGHTS
    assert (source.folder() / "config.json").read_bytes() == b"{}"


def test_s3_knows_the_digest(model: Artefact) -> None:
    stated = open_source(model.uri).files()["model.safetensors"].sha256
    assert stated == (None if model.local else hashlib.sha256(WEIGHTS).hexdigest())


def test_same_files_are_the_same_checkpoint_and_changed_ones_are_not(model: Artefact) -> None:
    """A run that mixed two versions of a parent would write a model of neither."""
    checkpoint = open_source(model.uri).checkpoint
    assert reopen(checkpoint).checkpoint == checkpoint
    model.write("model.safetensors", WEIGHTS[::-1])
    with pytest.raises(PermanentError, match="changed since"):
        reopen(checkpoint)


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "nothing"])
def test_gives_only_what_is_listed(model: Artefact, name: str) -> None:
    with pytest.raises(CorruptError, match="no file"):
        open_source(model.uri).fetch(name)


def test_missing_places_are_named(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_source(str(tmp_path / "nothing"))
    if store.uri.startswith("s3://"):
        with pytest.raises(InputError, match="nothing there"):
            open_source(f"{store.uri}/nothing")
