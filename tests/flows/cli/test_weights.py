"""`expo extrapolate` and `expo verify`: what they write, print and exit with."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tasks.stores.artefact import Artefact
from tasks.stores.disk import sha256_of
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import read_manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import ModuleAlpha, Recipe
from tests.flows.cli.command import Arguments, Command
from tests.weights.checkpoints import pair as checkpoints
from tests.weights.checkpoints import write_checkpoint
from tests.weights.test_signature import make_keys

SHARD = "model-00002-of-00003.safetensors"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_alphas(expo: Command, tmp_path: Path) -> None:
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


def test_several_alphas_of_a_preset(expo: Command, tmp_path: Path) -> None:
    """The parts of the second α are shares of it, not of the first."""
    _, aligned, sft = checkpoints(tmp_path)
    done = expo(
        *("extrapolate", "--sft", sft.folder(), "--aligned", aligned.folder(), "--module-preset", "lines"),
        *("--alpha", "0.1", "--alpha", "2", "--out", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    manifest = read_manifest((tmp_path / "out" / "alpha-2" / "manifest.json").read_bytes())
    assert [tensor.alpha for tensor in manifest.statistics] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    "text", ["mlp", "=0.3", "mlp=", "(=1", "mlp=nan", "mlp@3=1", "mlp@5-x=0.3", "layers=2@0-1"]
)
def test_module_alpha_that_cannot_be_read(expo: Command, tmp_path: Path, text: str) -> None:
    _, aligned, sft = checkpoints(tmp_path)
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder(), "--alpha", "0.3"]
    done = expo("extrapolate", *parents, "--module-alpha", text, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "module" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_options_are_the_recipe(expo: Command, tmp_path: Path) -> None:
    """What is asked for stands in the manifest, and decides the fingerprint."""
    _, aligned, sft = checkpoints(tmp_path)
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder(), "--alpha", "0.3"]
    options = ["--dtype", "float32", "--vocabulary", "common-rows", "--nonfinite", "allow"]
    options += ["--shard-size", "10kB", "--module-alpha", r"layers\.1=2", "--module-alpha", "weight@2-3=-0.5"]
    done = expo("extrapolate", *parents, *options, "--device", "cpu", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = read_manifest((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest.recipe == Recipe(
        aligned=aligned.checkpoint,
        sft=sft.checkpoint,
        alpha=0.3,
        output_dtype="float32",
        vocabulary="common-rows",
        nonfinite="allow",
        shard_bytes=10_000,
        module_alphas=(
            ModuleAlpha(pattern=r"layers\.1", alpha=2.0),
            ModuleAlpha(pattern="weight", layers=(2, 3), alpha=-0.5),
        ),
    )
    assert [tensor.alpha for tensor in manifest.statistics] == [0.3, 2.0, -0.5, -0.5]
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 4
    assert expo("extrapolate", *parents, "--out", tmp_path / "out").returncode == 2  # another recipe's folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A sound model at tmp_path/out, its parents beside it."""
    wanted, aligned, sft = checkpoints(tmp_path)
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    return tmp_path / "out"


def test_verify_of_a_sound_model(expo: Command, model: Path) -> None:
    done = expo("verify", model)
    assert (done.returncode, done.stderr) == (0, "")
    sound, sample = done.stdout.splitlines()
    assert sound == f"{model}: 5 files and 4 tensors (computed again by numpy) are as they should be"
    assert sample.startswith("the sample is of --seed ")
    assert "and 4 tensors" in expo("verify", model, "--all").stdout
    both_ends = "and 4 tensors"  # each shard's first and last are always among them
    assert both_ends in expo("verify", model, "--tensors", "2").stdout


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
    rewrite(folder, files=[now if file["name"] == SHARD else file for file in listed])


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
        (
            edit_recipe,
            "manifest: manifest.json: an edited manifest (its recipe does not have its fingerprint)",
        ),
        (longer_shard, f"layout: {SHARD}: the parents give a shard of "),
        (other_parent, "parent: manifest.json: its tensors cannot be made again: "),
        (other_weights, f"tensor: {SHARD}: tensor "),
    ],
)
def test_verify_names_each_difference(
    expo: Command, model: Path, damage: Callable[[Path], object], message: str
) -> None:
    """One line for each on standard output, a summary as the error, exit status 1."""
    damage(model)
    done = expo("verify", model, "--all")
    assert done.returncode == 1, done.stderr
    assert message in done.stdout
    kind = message.partition(":")[0]
    assert done.stderr == f"error: {model}: not what its manifest says, see above ({kind})\n"


def test_verify_without_the_parents(expo: Command, model: Path) -> None:
    other_parent(model)
    assert "5 files and 0 tensors" in expo("verify", model, "--files-only").stdout


def test_signed_and_verified_by_the_key(expo: Command, model: Path, tmp_path: Path) -> None:
    _, aligned, sft = checkpoints(tmp_path / "signed")
    private, public = make_keys(tmp_path / "keys")
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder(), "--alpha", "0.5"]
    out = tmp_path / "signed-model"
    done = expo("extrapolate", *parents, "--out", out, "--sign", public)
    assert (done.returncode, out.exists()) == (2, False)
    assert "no private key" in done.stderr
    assert expo("extrapolate", *parents, "--out", out, "--sign", private).returncode == 0
    done = expo("verify", out, "--key", public)
    assert done.returncode == 0 and f"signed by the private half of {public}" in done.stdout
    done = expo("verify", model, "--key", public)
    assert done.returncode == 1 and "signature: model.sig: it is not there" in done.stdout
    assert "not checked: its signature" in expo("verify", out).stdout


def test_verify_of_something_else(expo: Command, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "plain", {})
    done = expo("verify", tmp_path / "plain")
    assert done.returncode == 2
    assert "no manifest.json; no model of this program, or not finished" in done.stderr


def test_one_shard_is_no_shards(expo: Command, tmp_path: Path) -> None:
    for side, value in (("aligned", 1.0), ("sft", 2.0)):
        write_checkpoint(tmp_path / side, {"w": torch.full((3,), value)})
    parents: Arguments = ["--sft", tmp_path / "sft", "--aligned", tmp_path / "aligned", "--alpha", "0.3"]
    assert "in 1 shard\n" in re.sub(" +\n", "\n", expo("check", *parents).stdout)
    assert "1 shard, 0.00 GB" in expo("extrapolate", *parents, "--out", tmp_path / "out").stdout


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("alpha", ["1e39", "-1e39", "nan", "inf"])
def test_alpha_beyond_fp32(expo: Command, tmp_path: Path, alpha: str) -> None:
    _, aligned, sft = checkpoints(tmp_path)
    parents: Arguments = ["--sft", sft.folder(), "--aligned", aligned.folder()]
    for arguments in (["check"], ["extrapolate", "--out", tmp_path / "out"]):
        done = expo(*arguments, *parents, "--alpha", alpha)
        assert done.returncode == 2 and "α" in done.stderr, done.stderr
