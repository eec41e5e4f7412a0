"""The commands about weights, each in a process of its own: what they write, print and exit with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.stores.artefact import Artefact
from tasks.stores.source import sha256_of
from tasks.weights.model import extrapolate
from tasks.weights.plan import make_plan
from tests.weights.checkpoints import pair as checkpoints
from tests.weights.checkpoints import write_checkpoint

Arguments = list[str | Path]
SHARD = "model-00002-of-00003.safetensors"


def expo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_alphas(tmp_path: Path) -> None:
    """One folder for each α, each the same as made alone; run again, nothing is done twice."""
    _, aligned, sft = checkpoints(tmp_path)
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder()]
    together: Arguments = [
        "extrapolate",
        *parents,
        "--alpha",
        "0.1",
        "--alpha",
        "2",
        "--out",
        tmp_path / "out",
    ]
    done = expo(*together, "--module-alpha", "@0-1=0.5")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/out/alpha-0.1: 3 shards" in done.stdout
    assert f"{tmp_path}/out/alpha-2: 3 shards" in done.stdout
    single: Arguments = [
        "extrapolate",
        *parents,
        "--alpha",
        "2",
        "--module-alpha",
        "@0-1=0.5",
        "--out",
        tmp_path / "one",
    ]
    assert expo(*single).returncode == 0
    assert files_of(tmp_path / "out" / "alpha-2") == files_of(tmp_path / "one")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert expo(*together, "--module-alpha", "@0-1=0.5").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize(
    "text", ["mlp", "=0.3", "mlp=", "(=1", "mlp=nan", "mlp@3=1", "mlp@5-x=0.3", "layers=2@0-1"]
)
def test_module_alpha_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    _, aligned, sft = checkpoints(tmp_path)
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder(), "--alpha", "0.3"]
    done = expo("extrapolate", *parents, "--module-alpha", text, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "module" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A sound model at tmp_path/out, its parents beside it."""
    wanted, aligned, sft = checkpoints(tmp_path)
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    return tmp_path / "out"


def test_verify_of_a_sound_model(model: Path) -> None:
    done = expo("verify", model)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{model}: 5 files and 4 tensors are as they should be\n"
    assert "and 4 tensors" in expo("verify", model, "--all").stdout
    assert "and 2 tensors" in expo("verify", model, "--tensors", "2").stdout


def flip(folder: Path) -> None:
    content = bytearray((folder / SHARD).read_bytes())
    content[-1] ^= 1
    (folder / SHARD).write_bytes(content)


def rewrite(folder: Path, **changes: object) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_recipe(folder: Path) -> None:
    rewrite(folder, recipe=json.loads((folder / "manifest.json").read_text())["recipe"] | {"alpha": 0.5})


def relist(folder: Path) -> None:
    """Makes the manifest agree with the shard as it is now."""
    now = {"name": SHARD, "size": (folder / SHARD).stat().st_size, "sha256": sha256_of(folder / SHARD)}
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    rewrite(folder, files=[now if one["name"] == SHARD else one for one in listed])


def other_weights(folder: Path) -> None:
    flip(folder)
    relist(folder)


def longer_shard(folder: Path) -> None:
    with (folder / SHARD).open("ab") as file:
        file.write(bytes(8))
    relist(folder)


def other_parent(folder: Path) -> None:
    (folder.parent / "sft" / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, f"sha256: {SHARD}: sha256 "),
        (lambda folder: (folder / SHARD).unlink(), f"missing: {SHARD}: it is in the manifest, but not there"),
        (lambda folder: (folder / SHARD).write_bytes(b"x"), f"size: {SHARD}: 1 bytes, not "),
        (
            lambda folder: (folder / "x.txt").touch(),
            "unknown file: x.txt: it is there, but not in the manifest",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text("{"),
            "manifest: manifest.json: a damaged manifest (Expecting property name",
        ),
        (edit_recipe, "manifest: manifest.json: its recipe does not have its fingerprint"),
        (longer_shard, f"layout: {SHARD}: the parents give a shard of "),
        (other_parent, "parent: manifest.json: its tensors cannot be made again: "),
        (other_weights, f"tensor: {SHARD}: tensor "),
    ],
)
def test_verify_tells_each_difference(model: Path, damage: Callable[[Path], object], message: str) -> None:
    """One line for each on standard output, a summary as the error, exit status 1."""
    damage(model)
    done = expo("verify", model, "--all")
    assert done.returncode == 1, done.stderr
    assert message in done.stdout
    kind = message.partition(":")[0]
    assert done.stderr == f"error: {model}: not what its manifest says, see above ({kind})\n"


def test_verify_without_the_parents(model: Path) -> None:
    other_parent(model)
    assert "5 files and 0 tensors" in expo("verify", model, "--files-only").stdout


def test_verify_of_something_else(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "plain", {})
    done = expo("verify", tmp_path / "plain")
    assert done.returncode == 2
    assert "no manifest.json; it is no model of ours, or not finished" in done.stderr
