"""Each kind of difference is found, and a sound model has none."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.errors import InputError
from tasks.stores.artefact import Artefact
from tasks.stores.source import FolderSource, sha256_of
from tasks.weights.model import extrapolate
from tasks.weights.plan import make_plan
from tasks.weights.verify import verify
from tests.weights.checkpoints import pair, recipe, write_checkpoint

Model = tuple[Artefact, tuple[FolderSource, FolderSource]]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    wanted, aligned, sft = pair(tmp_path)
    made = Artefact(str(tmp_path / "out"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made, (aligned, sft)


def kinds(model: Model) -> list[tuple[str, str]]:
    return [(one.kind, one.file) for one in verify(*model, tensors="all").differences]


def folder_of(model: Model) -> Path:
    return Path(model[0].uri)


def rewrite_manifest(model: Model, **changes: object) -> None:
    file = folder_of(model) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


SHARD = "model-00002-of-00003.safetensors"


def test_sound_model(model: Model) -> None:
    found = verify(*model, tensors="all")
    assert found.differences == ()
    assert found.files == 5
    assert len(found.tensors) == 4
    assert len(verify(*model, tensors=2).tensors) == 2
    assert verify(model[0]).tensors == ()


@pytest.mark.parametrize("settings", [{"arithmetic": "parity"}, {"output_dtype": "float32"}])
def test_sound_model_of_other_settings(tmp_path: Path, settings: dict[str, object]) -> None:
    wanted, aligned, sft = pair(tmp_path, **settings)
    made = Artefact(str(tmp_path / "out"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    assert verify(made, (aligned, sft), tensors="all").differences == ()


def test_sound_model_with_common_rows(tmp_path: Path) -> None:
    name = "model.embed_tokens.weight"
    aligned = write_checkpoint(
        tmp_path / "aligned", {name: torch.randn(6, 3), "x.position_ids": torch.arange(3)}
    )
    sft = write_checkpoint(tmp_path / "sft", {name: torch.randn(4, 3)})
    made = Artefact(str(tmp_path / "out"))
    plan = make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft)
    extrapolate(plan, aligned, sft, made)
    found = verify(made, (aligned, sft), tensors="all")
    assert found.differences == ()
    assert len(found.tensors) == 2


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no manifest\.json"):
        verify(Artefact(str(tmp_path)))


def test_flipped_byte(model: Model) -> None:
    file = folder_of(model) / SHARD
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert kinds(model) == [("sha256", SHARD)]


def test_missing_shorter_and_unknown_files(model: Model) -> None:
    (folder_of(model) / SHARD).unlink()
    (folder_of(model) / "config.json").write_text("{}")
    (folder_of(model) / "notes.txt").touch()
    assert kinds(model) == [("size", "config.json"), ("missing", SHARD), ("unknown file", "notes.txt")]


def test_edited_manifest(model: Model) -> None:
    recipe = json.loads((folder_of(model) / "manifest.json").read_text())["recipe"]
    rewrite_manifest(model, recipe=recipe | {"alpha": 0.5})
    assert kinds(model) == [("manifest", "manifest.json")]


def test_damaged_manifest(model: Model) -> None:
    (folder_of(model) / "manifest.json").write_text("{")
    assert kinds(model) == [("manifest", "manifest.json")]


def test_other_parents(model: Model, tmp_path: Path) -> None:
    _, aligned, sft = pair(tmp_path / "other")
    assert kinds((model[0], (aligned, sft))) == [("parent", "manifest.json")]
    assert kinds((model[0], (model[1][1], model[1][0]))) == [("parent", "manifest.json")]


def test_weights_that_nobody_extrapolated(model: Model) -> None:
    """Digests and manifest agree with each other: only the parents can tell."""
    file = folder_of(model) / SHARD
    tensors = load_file(file)
    header = file.read_bytes()[: file.stat().st_size - sum(one.nbytes for one in tensors.values())]
    name = sorted(tensors)[0]
    tensors[name][0, 0] += 1
    save_file(tensors, file, {"format": "pt"})
    file.write_bytes(header + file.read_bytes()[-(sum(one.nbytes for one in tensors.values())) :])
    listed = json.loads((folder_of(model) / "manifest.json").read_text())["files"]
    for one in listed:
        if one["name"] == SHARD:
            one["sha256"] = sha256_of(file)
    rewrite_manifest(model, files=listed)
    assert kinds(model) == [("tensor", SHARD)]
    assert verify(model[0]).differences == ()
