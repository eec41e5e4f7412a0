"""What does not change by accident: the bytes of a model, and the form of its manifest.

A test that fails here says that models made before and after a change differ, or that manifests do.
If that is meant: new digests, and for the manifest a new `schema_version`. The weights are made by
integer arithmetic, so that no library's random numbers are in the digests.
"""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import CorruptError
from tasks.core.values import Value
from tasks.stores.artefact import Artefact
from tasks.stores.disk import sha256_of
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Checkpoint
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest, ModelFile, read_manifest
from tasks.weights.planner import make_plan
from tasks.weights.receipts import InputCheck, ShardReceipt, TensorStatistics
from tasks.weights.recipe import ModuleAlpha, Recipe
from tests.weights.checkpoints import recipe, write_checkpoint

GOLDEN = Path(__file__).with_name("golden_manifest.json")
SHAPES = {
    "model.embed_tokens.weight": (96, 32),
    "model.layers.0.self_attn.q_proj.weight": (32, 32),
    "model.layers.0.input_layernorm.weight": (32,),
    "model.layers.1.mlp.up_proj.weight": (64, 32),
}
DIGESTS = {
    "plain": "ee941a3dfe8e711e4f75485f4dde34b28b741e2c5c778b4dc110a5dfd6c57213",
    "float32": "f4313cc1220b5a916c978203825beec2826b92ac51dd4de3405c2bd908e6f215",
    "parity": "045d2496f8d5093f88aa671fe27a0027a7e70db60bef82e1a2ae88b6693dac1b",
    "modules": "cd91d0b5fd1f5fe310b514a185b446dd07139007961782b6269055cd95a4dfcb",
}
SETTINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "float32": {"output_dtype": "float32"},
    "parity": {"arithmetic": "parity"},
    "modules": {"module_alphas": (ModuleAlpha(pattern="mlp", layers=(1, 1), alpha=2.0),)},
}


def weights(salt: int, spread: float) -> dict[str, Tensor]:
    """Even multiples of 2⁻¹⁵ times the spread, in an order that looks random."""
    made = {}
    for number, (name, shape) in enumerate(SHAPES.items(), start=salt):
        count = torch.Size(shape).numel()
        mixed = (torch.arange(count, dtype=torch.int64) + 1000 * number) * 2654435761 % 65521
        made[name] = ((mixed - 32760).double() / 32768 * spread).reshape(shape)
    return made


@pytest.fixture
def parents(tmp_path: Path) -> tuple[FolderSource, FolderSource]:
    """Called by fixed names, with fixed times, so that the recipe too is always the same."""
    new = weights(salt=1, spread=0.05)
    update = weights(salt=9, spread=0.002)
    sides = {"aligned": new, "sft": {name: new[name] - update[name] for name in new}}
    for side, tensors in sides.items():
        write_checkpoint(tmp_path / side, {name: tensor.bfloat16() for name, tensor in tensors.items()}, [2])
        for file in (tmp_path / side).iterdir():
            os.utime(file, ns=(0, 0))
    aligned, sft = (FolderSource(tmp_path / side, f"golden:{side}") for side in sides)
    return aligned, sft


def made(parents: tuple[FolderSource, FolderSource], out: Path, **settings: object) -> Manifest:
    aligned, sft = parents
    return extrapolate(make_plan(recipe(aligned, sft, **settings), *parents), *parents, Artefact(str(out)))


@pytest.mark.parametrize("name", SETTINGS)
def test_bytes_of_a_model(parents: tuple[FolderSource, FolderSource], tmp_path: Path, name: str) -> None:
    made(parents, tmp_path / "out", **SETTINGS[name])
    digest = hashlib.sha256()
    for file in sorted((tmp_path / "out").glob("model*")):
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    assert digest.hexdigest() == DIGESTS[name]


def test_manifest(parents: tuple[FolderSource, FolderSource], tmp_path: Path) -> None:
    """Field by field; norms to six digits, since processors add in different orders."""
    found = json.loads(made(parents, tmp_path / "out", **SETTINGS["modules"]).model_dump_json())
    golden = json.loads(GOLDEN.read_text())
    for manifest in (found, golden):
        del manifest["code_version"]
        manifest["statistics"] = [
            {
                key: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                for key, value in tensor.items()
            }
            for tensor in manifest["statistics"]
        ]
    assert found == golden


def test_golden_manifest_is_read() -> None:
    """Manifests of this schema version stay readable, with the same meaning."""
    manifest = read_manifest(GOLDEN.read_bytes())
    assert manifest.recipe.fingerprint == manifest.fingerprint
    assert manifest.statistics[0].name == "model.embed_tokens.weight"
    earlier = json.loads(GOLDEN.read_text())
    for tensor in earlier["statistics"]:
        del tensor["cosine"]
    assert read_manifest(json.dumps(earlier).encode()).statistics[0].cosine is None


def test_manifest_of_another_version() -> None:
    content = json.loads(GOLDEN.read_text()) | {"schema_version": 2, "code_version": "9.1"}
    with pytest.raises(CorruptError, match=r"of schema version 2, written by version 9\.1.*this one reads 1"):
        read_manifest(json.dumps(content).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_damaged_manifest(content: bytes) -> None:
    with pytest.raises(CorruptError, match="a damaged manifest"):
        read_manifest(content)


@pytest.mark.parametrize(
    "value",
    [Manifest, ModelFile, InputCheck, ShardReceipt, TensorStatistics, Recipe, Checkpoint, ModuleAlpha],
)
def test_every_field_is_described(value: type[Value]) -> None:
    assert value.__doc__
    assert not [name for name in value.model_fields if not re.search(rf"\b{name}\b", value.__doc__)]


def test_transformers_loads_the_model_whole(tmp_path: Path) -> None:
    """No missing, unexpected or mismatched key; head and embedding stay tied."""
    from transformers import AutoModelForCausalLM

    from tests.weights.models import save_llama

    save_llama(tmp_path / "aligned", seed=1)
    save_llama(tmp_path / "sft", seed=2)
    made((FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")), tmp_path / "out")
    model, loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True, dtype="auto"
    )
    assert not any(loaded[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
