"""fp8 sides with known scales: dequantized while they stream, held against float64; the rest is refused."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import MismatchError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import reopen
from tasks.weights import shard_writer
from tasks.weights.extrapolation import extrapolate
from tasks.weights.identical import without_identical
from tasks.weights.manifest import Manifest
from tasks.weights.planner import make_plan
from tasks.weights.verify import verify
from tests.weights.checkpoints import Tensors, read_tensors, recipe
from tests.weights.fp8_sides import (
    BLOCKS,
    COLUMNS,
    EMBEDDING,
    FP8_CONFIG,
    ROWS,
    WEIGHTS,
    plain,
    quantize,
    write_fp8,
)
from tests.weights.reference import reference

ALPHA = 0.3


def make(folder: Path, aligned: FolderSource, sft: FolderSource, **settings: object) -> Manifest:
    wanted = recipe(aligned, sft, **{"alpha": ALPHA, "dequantize": True, **settings})
    plan = make_plan(wanted, aligned, sft)
    return extrapolate(plan, aligned, sft, Artefact(str(folder)))


def check_values(out: Tensors, new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> None:
    """Bit for bit the formula on fp32 values, and within its roundings of the exact one in float64."""
    for name in (EMBEDDING, *WEIGHTS):
        sides = new[name].float().flatten(), old[name].float().flatten()
        wanted = reference(*sides, ALPHA, "fp32", out[name].dtype).reshape(ROWS, COLUMNS)
        assert torch.equal(out[name], wanted)
        exact = new[name] + ALPHA * (new[name] - old[name])
        ulp = torch.finfo(out[name].dtype).eps * exact.abs()
        size = torch.maximum(new[name].abs(), old[name].abs()) * torch.finfo(torch.float32).eps
        assert bool(((out[name].double() - exact).abs() <= 0.5 * ulp + 4 * size).all())


@pytest.mark.parametrize(
    ("kind", "suffix", "dtype", "sides"),
    [
        ("tensor", "_scale", torch.float32, "both"),
        ("tensor of one element", "_scale", torch.bfloat16, "both"),
        ("row", "_scale", torch.float32, "both"),
        ("block", "_scale_inv", torch.float32, "both"),
        ("block", "_scale_inv", torch.float32, "aligned"),
        ("block", "_scale", torch.bfloat16, "sft"),
        ("stated block", "_scale_inv", torch.float32, "both"),
    ],
)
def test_values(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    suffix: str,
    dtype: torch.dtype,
    sides: str,
) -> None:
    """Slots of 4 KiB: pieces begin and end within rows and blocks."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 4096)
    settings = dict(FP8_CONFIG, weight_block_size=list(BLOCKS[kind][1])) if "block" in kind else FP8_CONFIG
    content, sources = {}, {}
    for side, seed in (("aligned", 1), ("sft", 2)):
        held, exact = quantize(plain(seed), kind, suffix, dtype)
        if sides not in ("both", side):
            held = {name: tensor.bfloat16() for name, tensor in exact.items()}
            exact = {name: tensor.double() for name, tensor in held.items()}
        content[side] = exact
        config = {"quantization_config": settings} if sides in ("both", side) else {}
        # cut between a weight and its scale
        sources[side] = write_fp8(tmp_path / side, held, cuts=[2], **config)
    manifest = make(tmp_path / "out", sources["aligned"], sources["sft"])
    out = read_tensors(tmp_path / "out")
    assert sorted(out) == sorted(content["aligned"])
    assert {tensor.dtype for tensor in out.values()} == {torch.bfloat16}
    check_values(out, content["aligned"], content["sft"])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config and config["torch_dtype"] == "bfloat16"
    said = " ".join(manifest.notices)
    assert "2 fp8 tensors are dequantized" in said
    assert ("quantization_config is removed" in said) is (sides != "sft")
    found = verify(FolderSource(tmp_path / "out"), reopen, "all")
    assert not found.differences and len(found.tensors) == 3


def both(folder: Path, **extra: Tensor) -> tuple[FolderSource, FolderSource]:
    sources = []
    for side, seed in (("aligned", 1), ("sft", 2)):
        held, _ = quantize(plain(seed), "block", "_scale_inv", torch.float32)
        held |= extra if side == "aligned" else {}
        sources.append(write_fp8(folder / side, held, quantization_config=FP8_CONFIG))
    return sources[0], sources[1]


def test_a_stated_dtype(tmp_path: Path) -> None:
    new = quantize(plain(1), "block", "_scale_inv", torch.float32)[1]
    old = quantize(plain(2), "block", "_scale_inv", torch.float32)[1]
    make(tmp_path / "out", *both(tmp_path), output_dtype="float32")
    out = read_tensors(tmp_path / "out")
    assert out[WEIGHTS[0]].dtype == torch.float32
    check_values(out, new, old)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == "float32" and "quantization_config" not in config


def test_verify_finds_another_value(tmp_path: Path) -> None:
    """In a file whose digest the manifest was made to fit."""
    aligned, sft = both(tmp_path)
    make(tmp_path / "out", aligned, sft)
    out = tmp_path / "out" / "model.safetensors"
    content = bytearray(out.read_bytes())
    content[-2] ^= 0x10
    out.write_bytes(content)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["name"] == out.name:
            file["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    found = verify(FolderSource(tmp_path / "out"), reopen, "all")
    assert [difference.kind for difference in found.differences] == ["tensor"]


def test_extra_tensors_are_copied_dequantized(tmp_path: Path) -> None:
    """Copied as fp8 without their scales they would be other numbers."""
    name = "model.layers.2.mlp.up_proj.weight"
    weight = torch.randn(130, 20).to(torch.float8_e4m3fn)
    scale = torch.tensor([[0.5], [0.03]])
    extra = {name: weight, f"{name}_scale_inv": scale}
    aligned, sft = both(tmp_path, **extra)
    manifest = make(tmp_path / "out", aligned, sft, extra="aligned")
    every = scale.repeat_interleave(128, 0)[:130]
    out = read_tensors(tmp_path / "out")
    assert torch.equal(out[name], (weight.float() * every).bfloat16())
    assert f"{name}_scale_inv" not in out and manifest.copied == (name,)
    assert not verify(FolderSource(tmp_path / "out"), reopen, "all").differences


def test_input_scales_go_with_the_quantization(tmp_path: Path) -> None:
    """They scale activations of an fp8 product, which the output has none of."""
    names = [name.removesuffix("weight") + "input_scale" for name in WEIGHTS]
    make(tmp_path / "out", *both(tmp_path, **{name: torch.ones(()) for name in names}))
    assert not set(names) & set(read_tensors(tmp_path / "out"))


def test_files_that_both_sides_have(tmp_path: Path) -> None:
    """Stated by their sha256, as the Hub states it: scales and weights of the SFT side are not read then."""
    held, _ = quantize(plain(1), "block", "_scale_inv", torch.float32)
    other, _ = quantize(plain(2), "block", "_scale_inv", torch.float32)
    shared = {name: tensor for name, tensor in held.items() if name.startswith(WEIGHTS[0])}
    rest = {name: tensor for name, tensor in other.items() if not name.startswith(WEIGHTS[0])}
    aligned = write_fp8(tmp_path / "aligned", dict(sorted(held.items())), cuts=[3])
    sft = write_fp8(tmp_path / "sft", dict(sorted((shared | rest).items())), cuts=[3])
    plan = make_plan(recipe(aligned, sft, dequantize=True), aligned, sft)
    first = "model-00001-of-00002.safetensors"
    job = without_identical(plan.shards[0], {first: first})
    assert not job.scales("sft") and job.sft_files == ()
    apart = without_identical(plan.shards[1], {first: first})
    assert apart.scales("sft")


def test_the_refusal_names_the_option(tmp_path: Path) -> None:
    aligned, sft = both(tmp_path)
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(aligned, sft), aligned, sft)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 2 and all("add --dequantize" in line for line in lines)


@pytest.mark.parametrize(
    "scale",
    [
        torch.ones(7, 3),
        torch.ones(2, 3).to(torch.float8_e8m0fnu),
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(ROWS, COLUMNS),
        None,
    ],
    ids=["another grid", "E8M0", "F64", "each element", "none"],
)
def test_scales_that_are_not_known(tmp_path: Path, scale: Tensor | None) -> None:
    held, _ = quantize(plain(1), "block", "_scale_inv", torch.float32)
    del held[f"{WEIGHTS[0]}_scale_inv"]
    if scale is not None:
        held[f"{WEIGHTS[0]}_scale_inv"] = scale
    aligned = write_fp8(tmp_path / "aligned", held)
    sft = write_fp8(tmp_path / "sft", {name: tensor.bfloat16() for name, tensor in plain(2).items()})
    for dequantize in (False, True):
        with pytest.raises(MismatchError, match="is quantized") as caught:
            make_plan(recipe(aligned, sft, dequantize=dequantize), aligned, sft)
        assert "--dequantize" not in str(caught.value)


def test_another_quantization_stays_refused(tmp_path: Path) -> None:
    packed = {"model.layers.0.mlp.up_proj.qweight": torch.ones(4, 4, dtype=torch.int32)}
    aligned = write_fp8(tmp_path / "aligned", packed, quantization_config={"quant_method": "gptq"})
    sft = write_fp8(
        tmp_path / "sft", packed | {"x": torch.ones(1)}, quantization_config={"quant_method": "gptq"}
    )
    with pytest.raises(MismatchError, match="gptq"):
        make_plan(recipe(aligned, sft, dequantize=True), aligned, sft)


def test_nothing_to_dequantize(tmp_path: Path) -> None:
    sources = [
        write_fp8(tmp_path / str(seed), {name: tensor.bfloat16() for name, tensor in plain(seed).items()})
        for seed in (1, 2)
    ]
    with pytest.raises(MismatchError, match="leave --dequantize out"):
        make_plan(recipe(*sources, dequantize=True), *sources)
