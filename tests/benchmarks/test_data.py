"""The pinned data: from the cache when it is there, never another content, a way out when it is not."""

import hashlib
from pathlib import Path

import pytest

from tasks.benchmarks.data import REFERENCE, REPOSITORY, REVISION, DataFile, cached, fetch
from tasks.errors import CorruptError, PermanentError
from tasks.stores.source import sha256_of

CONTENT = b"a data file"
FILE = DataFile("file.csv", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's folder in an empty cache of the Hub, offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / f"datasets--{REPOSITORY.replace('/', '--')}" / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


def test_a_cached_file_needs_no_network(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT)
    assert fetch(FILE) == cached(FILE) == snapshot / FILE.name


def test_a_changed_file_is_refused(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT + b"!")
    for get in (fetch, cached):
        with pytest.raises(CorruptError, match=f"not the pinned {FILE.sha256}"):
            get(FILE)


def test_offline_without_it_the_error_says_how_to_get_it(snapshot: Path) -> None:
    assert cached(FILE) is None
    with pytest.raises(PermanentError, match=f"hf download {REPOSITORY} file.csv --repo-type dataset"):
        fetch(FILE)


def test_the_pinned_digest_is_that_of_the_real_reference(data: Path) -> None:
    assert sha256_of(data / "gpt4_1106_preview.json") == REFERENCE.sha256
