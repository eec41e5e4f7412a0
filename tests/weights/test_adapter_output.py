"""The same adapter at (1 + α) times its scale: peft makes of it what extrapolating its merge gives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.core.errors import CorruptError, MismatchError
from tasks.stores.disk import sha256_of
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import reopen
from tasks.weights.recipe import ModuleAlpha
from tasks.weights.verify import verify
from tests.weights.adapters import edit_config, make, merged_by_peft, save_adapter
from tests.weights.checkpoints import read_tensors
from tests.weights.models import save_llama

ALPHA = 0.5
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rs-LoRA": {"use_rslora": True},
    "patterns": {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"down_proj": 3}},
    "an embedding": {"target_modules": ["embed_tokens", "down_proj"]},
}
MODULES = (ModuleAlpha(pattern="mlp", alpha=2.0), ModuleAlpha(pattern="", alpha=-0.5, layers=(1, 1)))


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    save_llama(tmp_path / "sft", seed=1, dtype=torch.float32, tied=False)
    return tmp_path / "sft"


@pytest.mark.parametrize("modules", [(), MODULES], ids=["one α", "α by module"])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_extrapolation(tmp_path: Path, sft: Path, kind: str, modules: tuple[ModuleAlpha, ...]) -> None:
    save_adapter(sft, tmp_path / "adapter", **KINDS[kind])
    make(tmp_path / "adapter", tmp_path / "out", alpha=ALPHA, module_alphas=modules)
    aligned, base = merged_by_peft(sft, tmp_path / "adapter"), read_tensors(sft)
    scaled = merged_by_peft(sft, tmp_path / "out")
    for name, tensor in scaled.items():
        alpha = ALPHA
        if modules:
            alpha = 2.0 if ".mlp." in name else -0.5 if ".layers.1." in name else ALPHA
        new, old = aligned[name].detach().double(), base[name].double()
        exact = new + alpha * (new - old)
        assert torch.allclose(tensor.detach().double(), exact, rtol=1e-6, atol=1e-6), name


def test_what_is_written(tmp_path: Path, sft: Path) -> None:
    """The weights byte for byte, the tokenizer, and a configuration that differs in the scale alone."""
    save_adapter(sft, tmp_path / "adapter", lora_alpha=16)
    (tmp_path / "adapter" / "tokenizer.json").write_text("{}")
    (tmp_path / "adapter" / "training_args.bin").write_bytes(b"the trainer's own")
    manifest = make(tmp_path / "adapter", tmp_path / "out", alpha=0.25)
    held = {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}
    assert {file.name for file in manifest.files} == held
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*held, "manifest.json"}
    weights = [sha256_of(tmp_path / folder / "adapter_model.safetensors") for folder in ("adapter", "out")]
    assert weights[0] == weights[1]
    before, after = (
        json.loads((tmp_path / folder / "adapter_config.json").read_text()) for folder in ("adapter", "out")
    )
    assert after == before | {"lora_alpha": 20, "alpha_pattern": {}}
    (check,) = manifest.inputs
    assert (check.side, check.file) == ("aligned", "adapter_model.safetensors")


def test_no_weights_of_the_base_are_read(tmp_path: Path, sft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its headers are: they say whether the adapter is one on this model."""
    save_adapter(sft, tmp_path / "adapter")
    read, files = [0], {path.name for path in sft.glob("*.safetensors")}
    original = FolderSource.read

    def counting(source: FolderSource, name: str, start: int, length: int) -> bytes:
        content = original(source, name, start, length)
        read[0] += len(content) if source.folder() == sft and name in files else 0
        return content

    monkeypatch.setattr(FolderSource, "read", counting)
    make(tmp_path / "adapter", tmp_path / "out")
    headers = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in sft.glob("*.safetensors"))
    assert read[0] <= 4 * headers < sum(path.stat().st_size for path in sft.glob("*.safetensors")) / 4


def test_made_twice_is_made_once(tmp_path: Path, sft: Path) -> None:
    save_adapter(sft, tmp_path / "adapter")
    first = make(tmp_path / "adapter", tmp_path / "out")
    assert make(tmp_path / "adapter", tmp_path / "out") == first


def test_verify(tmp_path: Path, sft: Path) -> None:
    """Files against the manifest, and the manifest's against what the adapter gives at this α."""
    save_adapter(sft, tmp_path / "adapter")
    manifest = make(tmp_path / "adapter", tmp_path / "out")
    found = verify(FolderSource(tmp_path / "out"), reopen)
    assert not found.differences
    assert len(found.tensors) == 6
    config = tmp_path / "out" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 12', '"lora_alpha": 13'))
    assert [difference.kind for difference in verify(FolderSource(tmp_path / "out"), reopen).differences] == [
        "sha256"
    ]
    edited = json.loads(manifest.model_dump_json())
    for file in edited["files"]:
        file["sha256"] = sha256_of(tmp_path / "out" / file["name"])
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(edited))
    differences = verify(FolderSource(tmp_path / "out"), reopen).differences
    assert [(difference.kind, difference.file) for difference in differences] == [
        ("tensor", "adapter_config.json")
    ]


@pytest.mark.parametrize("kind", ["DoRA", "a head saved whole"])
def test_where_a_scale_is_not_exact(tmp_path: Path, sft: Path, kind: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "DoRA": {"use_dora": True},
        "a head saved whole": {"modules_to_save": ["lm_head"]},
    }
    save_adapter(sft, tmp_path / "adapter", **settings[kind])
    with pytest.raises(MismatchError, match="no scale of it extrapolates; add --merge"):
        make(tmp_path / "adapter", tmp_path / "out", adapter="scale")
    assert make(tmp_path / "adapter", tmp_path / "out").recipe.adapter == "merge"


@pytest.mark.parametrize(("value", "message"), [(0.0, "changes nothing"), (float("nan"), "NaN or Inf")])
def test_an_adapter_that_is_none(tmp_path: Path, sft: Path, value: float, message: str) -> None:
    save_adapter(sft, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({n: t.fill_(value) if "lora_B" in n else t for n, t in tensors.items()}, file)
    with pytest.raises(CorruptError, match=message):
        make(tmp_path / "adapter", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arithmetic": "parity"}, "an adapter's update has none"),
        ({"output_dtype": "float32"}, "leave --dtype out, or add --merge"),
        ({"module_alphas": (ModuleAlpha(pattern="norms", alpha=1.0),)}, "matches no tensor"),
    ],
)
def test_settings_that_make_no_sense(
    tmp_path: Path, sft: Path, settings: dict[str, Any], message: str
) -> None:
    save_adapter(sft, tmp_path / "adapter")
    with pytest.raises(MismatchError, match=message):
        make(tmp_path / "adapter", tmp_path / "out", **settings)


@pytest.mark.slow
def test_the_command(tmp_path: Path, sft: Path) -> None:
    """Without --sft, without torch; `check` says what will be written."""
    save_adapter(sft, tmp_path / "adapter")
    script = (
        "import sys; from flows.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'peft' not in sys.modules"
    )
    pair = ["--aligned", str(tmp_path / "adapter"), "--alpha", "0.5"]

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", script, *arguments, *pair]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "the adapter at (1 + α) times its scale" in run("check")
    assert "the adapter at (1 + α) times its scale" in run("extrapolate", "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    run("extrapolate", "--merge", "--out", str(tmp_path / "merged"), "--sft", str(sft))
    assert read_tensors(tmp_path / "merged").keys() == read_tensors(sft).keys()


def test_an_edited_scale_is_another_adapter(tmp_path: Path, sft: Path) -> None:
    save_adapter(sft, tmp_path / "adapter")
    first = make(tmp_path / "adapter", tmp_path / "out")
    edit_config(tmp_path / "adapter", lora_alpha=9)
    assert make(tmp_path / "adapter", tmp_path / "other").fingerprint != first.fingerprint
