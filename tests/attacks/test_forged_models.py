"""A model whose manifest was made to agree with a change: verify compares it with the parents."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import InputError, PermanentError
from tasks.stores.artefact import MANIFEST, Artefact
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source, reopen
from tasks.stores.source import Checkpoint
from tasks.weights.extrapolation import extrapolate
from tasks.weights.modules import alpha_of
from tasks.weights.planner import make_plan
from tasks.weights.recipe import ModuleAlpha
from tasks.weights.verify import Verification, verify
from tests.weights.checkpoints import pair, recipe

SHARD = "model-00002-of-00003.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model whose aligned parent brings a chat template and Python of its own."""
    _, aligned, sft = pair(tmp_path)
    (aligned.folder() / "chat_template.jinja").write_text("{{ messages }}")
    (aligned.folder() / "modeling_x.py").write_text("x = 1\n")
    aligned = FolderSource(aligned.folder())
    extrapolate(make_plan(recipe(aligned, sft), aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    assert _verify(tmp_path / "out").differences == ()
    return tmp_path / "out"


def _verify(folder: Path) -> Verification:
    return verify(open_source(str(folder)), reopen, "all")


def _relist(folder: Path) -> None:
    """Makes the manifest agree with all files that are there."""
    manifest = json.loads((folder / MANIFEST).read_text())
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST]
    manifest["files"] = [
        {
            "name": path.name,
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in paths
    ]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _swap_two_tensors(folder: Path) -> None:
    """The bytes stay; the header gives each of two tensors the other's."""
    path = folder / SHARD
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[first], header[second] = header[second], header[first]
    changed = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert len(changed) == size
    path.write_bytes(content[:8] + changed + content[8 + size :])


def _lead_the_index_astray(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], SHARD)
    (folder / INDEX).write_text(json.dumps(index))


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "two tensors swapped in the header": (_swap_two_tensors, "layout"),
    "another chat template": (lambda f: (f / "chat_template.jinja").write_text("evil"), "side file"),
    "other Python": (lambda f: (f / "modeling_x.py").write_text("import os\n"), "side file"),
    "another config": (lambda f: (f / "config.json").write_text('{"auto_map": {}}'), "side file"),
    "another index": (_lead_the_index_astray, "index"),
    "an extra file": (lambda f: (f / "modeling_y.py").write_text("x = 1\n"), "unknown file"),
    "a file less": (lambda f: (f / "chat_template.jinja").unlink(), "missing"),
    "a folder": (lambda f: (f / "subfolder").mkdir(), "folder"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged(model: Path, forgery: str) -> None:
    change, kind = FORGERIES[forgery]
    change(model)
    _relist(model)
    found = _verify(model)
    assert [difference.kind for difference in found.differences] == [kind]


def test_the_sample_covers_every_shard_and_cannot_be_predicted(model: Path) -> None:
    source = open_source(str(model))
    ends = {"layers.0.weight", "layers.1.weight", "layers.2.weight", "layers.3.weight"}
    found = verify(source, reopen, 1)
    assert set(found.tensors) == ends
    assert found.seed is not None
    assert found.seed != verify(source, reopen, 1).seed
    assert verify(source, reopen, 1, seed=found.seed).tensors == found.tensors


def test_what_was_not_checked_is_said(model: Path) -> None:
    source = open_source(str(model))
    assert "index, headers, side files, tensors" in verify(source).unchecked[0]
    assert verify(source, reopen, 0).unchecked == ("the values of 4 other tensors",)
    assert verify(source, reopen, "all").unchecked == ()


def test_a_pattern_of_a_manifest_cannot_hang(tmp_path: Path) -> None:
    """Matched by backtracking this one takes longer than the universe lasts."""
    wanted, _, _ = pair(tmp_path)
    evil = wanted.model_copy(update={"module_alphas": (ModuleAlpha(pattern="(a|a)*$", alpha=1.0),)})
    begin = time.monotonic()
    with pytest.raises(InputError, match="takes too long"):
        alpha_of(evil, "a" * 60 + "!")
    assert time.monotonic() - begin < 30


def test_a_manifest_cannot_start_the_training_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path))
    monkeypatch.setattr("tasks.demo.provider.find", lambda _: pytest.fail("it trains"))
    with pytest.raises(PermanentError, match="not on this machine"):
        reopen(Checkpoint(uri="demo:aligned", commit="local-" + "0" * 40))
