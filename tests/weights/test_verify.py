"""Each kind of difference is found, and a sound model has none."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.core.errors import InputError
from tasks.stores.artefact import Artefact
from tasks.stores.disk import sha256_of
from tasks.stores.open import open_source, reopen
from tasks.stores.source import Checkpoint, Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.verify import Verification
from tasks.weights.verify import verify as verify_source
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair, recipe, write_checkpoint


@pytest.fixture
def model(tmp_path: Path) -> Artefact:
    wanted, aligned, sft = pair(tmp_path)
    made = Artefact(str(tmp_path / "out"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made


def verify(
    model: Artefact,
    open_parent: Callable[[Checkpoint], Source] | None = None,
    tensors: int | Literal["all"] = 16,
) -> Verification:
    return verify_source(open_source(model.uri), open_parent, tensors)


def kinds(model: Artefact) -> list[tuple[str, str]]:
    return [(difference.kind, difference.file) for difference in verify(model, reopen, "all").differences]


def folder_of(model: Artefact) -> Path:
    return Path(model.uri)


def rewrite_manifest(model: Artefact, **changes: object) -> None:
    file = folder_of(model) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


SHARD = "model-00002-of-00003.safetensors"


def relist(model: Artefact) -> None:
    """Makes the manifest agree with the shard as it is now."""
    shard, listed = (
        folder_of(model) / SHARD,
        json.loads((folder_of(model) / "manifest.json").read_text())["files"],
    )
    now = {"name": SHARD, "size": shard.stat().st_size, "sha256": sha256_of(shard)}
    rewrite_manifest(model, files=[now if file["name"] == SHARD else file for file in listed])


def test_sound_model(model: Artefact) -> None:
    found = verify(model, reopen, "all")
    assert found.differences == ()
    assert found.files == 5
    assert len(found.tensors) == 4
    assert len(verify(model, reopen, 2).tensors) == 4  # the ends of each shard are always among them
    assert verify(model).tensors == ()


@pytest.mark.parametrize("settings", [{"arithmetic": "parity"}, {"output_dtype": "float32"}])
def test_sound_model_of_other_settings(tmp_path: Path, settings: dict[str, object]) -> None:
    wanted, aligned, sft = pair(tmp_path, **settings)
    made = Artefact(str(tmp_path / "out"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    assert verify(made, reopen, "all").differences == ()


def test_sound_model_with_common_rows(tmp_path: Path) -> None:
    name = "model.embed_tokens.weight"
    aligned = write_checkpoint(
        tmp_path / "aligned", {name: torch.randn(6, 3), "x.position_ids": torch.arange(3)}
    )
    sft = write_checkpoint(tmp_path / "sft", {name: torch.randn(4, 3)})
    made = Artefact(str(tmp_path / "out"))
    plan = make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft)
    extrapolate(plan, aligned, sft, made)
    found = verify(made, reopen, "all")
    assert found.differences == ()
    assert len(found.tensors) == 2


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no manifest\.json"):
        verify(Artefact(str(tmp_path)))


def test_flipped_byte(model: Artefact) -> None:
    file = folder_of(model) / SHARD
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert kinds(model) == [("sha256", SHARD)]


def test_missing_shorter_and_unknown_files(model: Artefact) -> None:
    (folder_of(model) / SHARD).unlink()
    (folder_of(model) / "config.json").write_text("{}")
    (folder_of(model) / "notes.txt").touch()
    assert kinds(model) == [("size", "config.json"), ("missing", SHARD), ("unknown file", "notes.txt")]


def test_edited_manifest(model: Artefact) -> None:
    recipe = json.loads((folder_of(model) / "manifest.json").read_text())["recipe"]
    rewrite_manifest(model, recipe=recipe | {"alpha": 0.5})
    assert kinds(model) == [("manifest", "manifest.json")]


def test_damaged_manifest(model: Artefact) -> None:
    (folder_of(model) / "manifest.json").write_text("{")
    assert kinds(model) == [("manifest", "manifest.json")]


def test_other_parents(model: Artefact) -> None:
    """The files are as they were; whether the tensors are, nobody can say any more."""
    (folder_of(model).parent / "sft" / "config.json").write_text("{}")
    assert kinds(model) == [("parent", "manifest.json")]
    assert verify(model).differences == ()


def test_parents_that_are_gone(model: Artefact) -> None:
    (folder_of(model).parent / "sft").rename(folder_of(model).parent / "elsewhere")
    assert kinds(model) == [("parent", "manifest.json")]


def test_shard_that_these_parents_cannot_give(model: Artefact) -> None:
    """Longer than planned, and the manifest agrees with it."""
    with (folder_of(model) / SHARD).open("ab") as file:
        file.write(bytes(8))
    relist(model)
    assert kinds(model) == [("layout", SHARD)]


def test_header_that_the_library_reads_otherwise(model: Artefact) -> None:
    """As long as planned, and the manifest agrees with it; the tensors have other names."""
    file = folder_of(model) / SHARD
    name = sorted(load_file(file))[0]
    file.write_bytes(file.read_bytes().replace(name.encode(), b"x" + name.encode()[1:], 1))
    relist(model)
    assert kinds(model) == [("layout", SHARD)]


def test_header_that_the_library_refuses(model: Artefact) -> None:
    file = folder_of(model) / SHARD
    file.write_bytes(file.read_bytes().replace(b"data_offsets", b"data_0ffsets", 1))
    relist(model)
    (difference,) = verify(model, reopen).differences
    assert difference.kind == "layout" and "the safetensors library refuses it" in difference.message


def test_verify_loads_neither_torch_nor_numba(model: Artefact) -> None:
    code = (
        "import sys; from tasks.stores.open import open_source, reopen\n"
        "from tasks.weights.verify import verify\n"
        f"assert verify(open_source({str(folder_of(model))!r}), reopen, 'all').differences == ()\n"
        "assert not {'torch', 'numba', 'llvmlite', 'tasks.weights.compiled'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT)


def test_weights_that_nobody_extrapolated(model: Artefact) -> None:
    """Digests and manifest agree with each other: only the parents show the change."""
    file = folder_of(model) / SHARD
    tensors = load_file(file)
    header = file.read_bytes()[: file.stat().st_size - sum(tensor.nbytes for tensor in tensors.values())]
    name = sorted(tensors)[0]
    tensors[name][0, 0] += 1
    save_file(tensors, file, {"format": "pt"})
    file.write_bytes(header + file.read_bytes()[-(sum(tensor.nbytes for tensor in tensors.values())) :])
    relist(model)
    assert kinds(model) == [("tensor", SHARD)]
    assert verify(model).differences == ()
