"""Artefacts behave alike in a folder and on a real S3 server."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.local import LocalFiles
from tests.waiting import LIMIT

CONTENT = bytes(range(251)) * 4096


def _file(folder: Path, content: bytes = CONTENT) -> Path:
    path = folder / "made-elsewhere"
    path.write_bytes(content)
    return path


@pytest.fixture
def model(store: Store) -> Artefact:
    return store.artefact("models", "a1b2")


def test_what_was_put_is_there(model: Artefact, tmp_path: Path) -> None:
    model.copy_in(_file(tmp_path), "model.safetensors")
    part = model.scratch() / "tokenizer.json"
    part.write_bytes(b"{}")
    model.put(part, "tokenizer.json")
    model.write("config.json", b"[]")

    assert not part.exists()
    assert model.names() == ["config.json", "model.safetensors", "tokenizer.json"]
    assert model.read("config.json") == b"[]"
    assert model.size("model.safetensors") == len(CONTENT)
    assert model.sha256("model.safetensors") == hashlib.sha256(CONTENT).hexdigest()
    assert model.fetch("model.safetensors", tmp_path / "here").read_bytes() == CONTENT


def test_nothing_there_is_no_error(model: Artefact) -> None:
    assert (model.read("a"), model.size("a"), model.sha256("a"), model.manifest()) == (None,) * 4
    assert model.names() == []
    model.remove("a")


def test_missing_file_is_named(model: Artefact, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=r"model\.safetensors is missing"):
        model.fetch("model.safetensors", tmp_path)


def test_replaces_and_removes_until_sealed(model: Artefact) -> None:
    model.write("receipt.json", b"1")
    model.write("receipt.json", b"2")
    assert model.read("receipt.json") == b"2"
    model.remove("receipt.json")
    assert model.names() == []


def test_a_sealed_artefact_keeps_its_content(model: Artefact) -> None:
    """Two runs of one family at the same time: the slower one must not change what the other finished."""
    model.write("answers.json", b"first")
    model.seal(b"manifest of the first")

    model.write("answers.json", b"first")  # equal bytes: nothing to do
    with pytest.raises(PermanentError, match="another run has finished"):
        model.write("answers.json", b"second")
    with pytest.raises(PermanentError, match="another run has finished"):
        model.seal(b"manifest of the second")
    model.seal(b"manifest of the first")
    assert (model.read("answers.json"), model.manifest()) == (b"first", b"manifest of the first")


def test_a_store_names_what_is_whole(store: Store) -> None:
    for name, whole in {"b": True, "a": True, "half": False}.items():
        artefact = store.artefact("models", name)
        artefact.write("config.json", b"{}")
        if whole:
            artefact.seal(b"{}")
    assert store.names("models") == ["a", "b"]
    assert store.names("generations") == []


def test_one_of_many_seals_wins(model: Artefact) -> None:
    def seal(content: bytes) -> bool:
        try:
            model.seal(content)
        except PermanentError:
            return False
        return True

    contents = [b"manifest %d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(seal, contents))
    assert won.count(True) == 1
    assert model.manifest() == contents[won.index(True)]


def test_a_seal_whose_scratch_folder_another_seal_removes_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mkdir finds the folder there, and then no longer: it says that it exists."""
    folder = tmp_path / "model"
    folder.mkdir()

    def removed(scratch: Path) -> str:
        (folder / "manifest.json").write_bytes(b"another's")
        raise FileExistsError(scratch)

    monkeypatch.setattr("tasks.stores.local.hold_lease", removed)
    assert LocalFiles(folder).create(b"mine", "manifest.json") is False
    assert (folder / "manifest.json").read_bytes() == b"another's"


def test_scratch_is_no_part_of_it_and_goes_with_the_seal(model: Artefact) -> None:
    (model.scratch() / "half-written").write_bytes(b"...")
    assert model.names() == []
    model.seal(b"{}")
    assert model.names() == [MANIFEST]
    assert not model._scratch_folder().exists()


def test_fetch_replaces_what_differs(model: Artefact, tmp_path: Path) -> None:
    model.write("config.json", b"{}")
    here = tmp_path / "here"
    here.mkdir()
    if not model.local:
        (here / "config.json").write_bytes(b"..")  # same size, other bytes
    assert model.fetch("config.json", here).read_bytes() == b"{}"


FORK = """
import os, sys
from tasks.stores.artefact import Artefact
Artefact(sys.argv[1]).write("from-the-parent", b"1")
if os.fork() == 0:
    Artefact(sys.argv[1]).write("from-the-child", b"1")
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.slow
def test_a_forked_process_can_write(model: Artefact) -> None:
    """A client inherited through fork raises, and workers may be forked.

    In a process of its own, since what other tests have loaded may not survive a fork.
    """
    done = subprocess.run([sys.executable, "-c", FORK, model.uri], capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr.decode()
    assert model.names() == ["from-the-child", "from-the-parent"]


def test_store_refuses_what_it_cannot_write() -> None:
    with pytest.raises(InputError, match="use a folder or s3://"):
        Store("gs://bucket/prefix")


def test_store_in_a_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in another working folder must find the same artefacts."""
    monkeypatch.chdir(tmp_path)
    assert Store("out/").uri == str(tmp_path / "out")
