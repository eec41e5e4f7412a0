"""Adapters merged while streaming: against peft's own merge and a float64 oracle; killed within."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.core.errors import CorruptError, MismatchError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import reopen
from tasks.weights.extrapolation import extrapolate_all
from tasks.weights.planner import make_plan, make_plans
from tasks.weights.recipe import ModuleAlpha, Recipe
from tasks.weights.verify import verify
from tests.weights.adapters import make, merged_by_peft, parents_of, save_adapter, save_gpt2
from tests.weights.checkpoints import read_tensors
from tests.weights.models import save_llama

ALPHA = 0.5
LLAMA: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank not divided by four": {"r": 3},
    "rs-LoRA": {"use_rslora": True, "r": 16},
    "patterns": {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"down_proj": 3}},
    "DoRA": {"use_dora": True},
    "a head saved whole": {"modules_to_save": ["lm_head"]},
    "an embedding": {"target_modules": ["embed_tokens", "q_proj"]},
}
GPT2: dict[str, dict[str, Any]] = {
    "Conv1D": {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    "biases": {"target_modules": ["c_attn"], "fan_in_fan_out": True, "bias": "all"},
}


def assert_extrapolated(out: dict[str, Tensor], aligned: dict[str, Tensor], sft: dict[str, Tensor]) -> None:
    """To one rounding of the output dtype, beside what peft's merge in fp32 loses."""
    for name, made in out.items():
        new, old = aligned[name].detach().double(), sft[name].double()
        exact = new + ALPHA * (new - old)
        step = torch.finfo(made.dtype).eps * exact.abs()
        of_peft = 1e-6 * (1 + new.abs())
        assert ((made.double() - exact).abs() <= 0.51 * step + of_peft).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", LLAMA)
def test_llama_against_peft(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    save_llama(tmp_path / "sft", seed=1, dtype=dtype, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", **LLAMA[kind])
    make(tmp_path / "adapter", tmp_path / "out", merge=True, alpha=ALPHA)
    aligned = merged_by_peft(tmp_path / "sft", tmp_path / "adapter")
    sft, out = read_tensors(tmp_path / "sft"), read_tensors(tmp_path / "out")
    assert out.keys() == sft.keys()
    assert {tensor.dtype for tensor in out.values()} == {dtype}
    assert_extrapolated(out, aligned, sft)
    assert any((out[name] != sft[name]).any() for name in out)


@pytest.mark.parametrize("kind", GPT2)
def test_gpt2_against_peft(tmp_path: Path, kind: str) -> None:
    save_gpt2(tmp_path / "sft", seed=1)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", **GPT2[kind])
    make(tmp_path / "adapter", tmp_path / "out", merge=True, alpha=ALPHA)
    aligned = merged_by_peft(tmp_path / "sft", tmp_path / "adapter")
    assert_extrapolated(read_tensors(tmp_path / "out"), aligned, read_tensors(tmp_path / "sft"))


def test_against_the_formula_in_float64(tmp_path: Path) -> None:
    """Off ties it is θ_sft + (1 + α)·s·BA, rounded once; what has no update is the SFT model's."""
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", r=6, lora_alpha=8)
    make(tmp_path / "adapter", tmp_path / "out", merge=True, alpha=ALPHA)
    factors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    out, changed = read_tensors(tmp_path / "out"), 0
    for name, old in read_tensors(tmp_path / "sft").items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{module}.lora_A.weight" not in factors:
            assert torch.equal(out[name].view(torch.int16), old.view(torch.int16)), name
            continue
        a, b = (factors[f"{module}.lora_{factor}.weight"].double() for factor in "AB")
        exact = old.double() + (1 + ALPHA) * (8 / 6) * (b @ a)
        step = torch.finfo(torch.bfloat16).eps * 2.0 ** exact.abs().log2().floor()
        off_ties = ((out[name].double() - exact).abs() / step - 0.5).abs() > 1e-4
        assert torch.equal(out[name][off_ties], exact.bfloat16()[off_ties]), name
        assert off_ties.double().mean() > 0.99
        assert ((out[name].double() - exact).abs() <= 0.5001 * step).all(), name
        changed += 1
    assert changed == 6


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtypes_and_pickles(tmp_path: Path, dtype: torch.dtype) -> None:
    """The adapter in another dtype than its base, as a `.bin`: the same as from fp32."""
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    narrow = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    file.unlink()
    torch.save(narrow, file.with_suffix(".bin"))
    make(tmp_path / "adapter", tmp_path / "narrow", merge=True)
    file.with_suffix(".bin").unlink()
    torch.save({name: tensor.float() for name, tensor in narrow.items()}, file.with_suffix(".bin"))
    make(tmp_path / "adapter", tmp_path / "wide", merge=True)
    narrow_out, wide_out = read_tensors(tmp_path / "narrow"), read_tensors(tmp_path / "wide")
    assert all(torch.equal(narrow_out[name], wide_out[name]) for name in wide_out)


def test_several_alphas_in_one_pass_and_by_module(tmp_path: Path) -> None:
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    parents = parents_of(tmp_path / "adapter")
    recipe = Recipe(
        aligned=parents.aligned.checkpoint,
        sft=parents.sft.checkpoint,
        alpha=0.0,
        adapter="merge",
        module_alphas=(ModuleAlpha(pattern="mlp", alpha=2.0),),
    )
    recipes = [recipe.model_copy(update={"alpha": alpha}) for alpha in (-1.0, 0.0, 0.5)]
    models = [Artefact(str(tmp_path / f"out-{recipe.alpha}")) for recipe in recipes]
    extrapolate_all(make_plans(recipes, *parents), parents, models)
    sft = read_tensors(tmp_path / "sft")
    for recipe in recipes:
        make(tmp_path / "adapter", tmp_path / "alone", merge=True, alpha=recipe.alpha)
        make(tmp_path / "adapter", tmp_path / "mlp", merge=True, alpha=2.0)
        out = read_tensors(tmp_path / f"out-{recipe.alpha}")
        alone, mlp = read_tensors(tmp_path / "alone"), read_tensors(tmp_path / "mlp")
        for name, tensor in out.items():
            assert torch.equal(tensor, (mlp if ".mlp." in name else alone)[name]), name
            if recipe.alpha == -1.0 and ".mlp." not in name:
                assert torch.equal(tensor.view(torch.int16), sft[name].view(torch.int16))
        shutil.rmtree(tmp_path / "alone")
        shutil.rmtree(tmp_path / "mlp")


def test_the_output_is_a_whole_model(tmp_path: Path) -> None:
    """It loads, without the adapter's files; statistics are of the adapter's update alone."""
    from transformers import AutoModelForCausalLM

    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    manifest = make(tmp_path / "adapter", tmp_path / "out", merge=True, alpha=0.0)
    assert not list((tmp_path / "out").glob("adapter*"))
    _, loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loaded[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    aligned, sft = merged_by_peft(tmp_path / "sft", tmp_path / "adapter"), read_tensors(tmp_path / "sft")
    for statistics in manifest.statistics:
        update = aligned[statistics.name].detach().double() - sft[statistics.name].double()
        assert statistics.update_norm == pytest.approx(update.norm().item(), rel=1e-4, abs=1e-9), (
            statistics.name
        )
        assert statistics.norm == pytest.approx(
            aligned[statistics.name].detach().double().norm().item(), rel=1e-5
        )
    assert {check.file for check in manifest.inputs if check.side == "aligned"} == {
        "adapter_model.safetensors"
    }


@pytest.mark.parametrize("kind", ["plain", "DoRA", "a head saved whole", "an embedding"])
def test_verify_computes_a_merge_again(tmp_path: Path, kind: str) -> None:
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", **LLAMA[kind])
    make(tmp_path / "adapter", tmp_path / "out", merge=True)
    found = verify(FolderSource(tmp_path / "out"), reopen, "all")
    assert not found.differences
    assert len(found.tensors) == len(read_tensors(tmp_path / "out"))


def test_verify_finds_another_merge(tmp_path: Path) -> None:
    """A model whose hashes are right, but which is that of another α."""
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    make(tmp_path / "adapter", tmp_path / "out", merge=True, alpha=0.5)
    wanted = make(tmp_path / "adapter", tmp_path / "other", merge=True, alpha=0.25)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest |= {"recipe": json.loads(wanted.recipe.model_dump_json()), "fingerprint": wanted.fingerprint}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    found = verify(FolderSource(tmp_path / "out"), reopen, "all")
    assert {difference.kind for difference in found.differences} == {"tensor"}
    assert len(found.differences) == 6


@pytest.mark.slow
def test_killed_in_the_middle_ends_in_the_same_bytes(tmp_path: Path) -> None:
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    whole = make(tmp_path / "adapter", tmp_path / "whole", merge=True)
    parents = parents_of(tmp_path / "adapter")
    plan = make_plan(whole.recipe, *parents)
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    half = plan.output_bytes // 2
    victim = [
        sys.executable,
        "-m",
        "tests.weights.victim",
        str(tmp_path / "plan.json"),
        str(tmp_path / "out"),
    ]
    root = Path(__file__).parents[2]
    killed = subprocess.run([*victim, str(half)], cwd=root, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
    subprocess.run([*victim, str(10 * plan.output_bytes)], cwd=root, capture_output=True, check=True)
    names = [file.name for file in whole.files]
    assert {path.name for path in (tmp_path / "out").glob("*.*")} == {*names, "manifest.json"}
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_the_tokenizer_is_the_adapters_if_it_is_whole(tmp_path: Path) -> None:
    """A changed chat template comes along; a part of a tokenizer is not mixed with another."""
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "sft" / name).write_text('{"of": "sft"}')
    (tmp_path / "adapter" / "tokenizer_config.json").write_text('{"of": "adapter"}')
    make(tmp_path / "adapter", tmp_path / "part", merge=True)
    assert "sft" in (tmp_path / "part" / "tokenizer_config.json").read_text()
    (tmp_path / "adapter" / "tokenizer.json").write_text('{"of": "adapter"}')
    make(tmp_path / "adapter", tmp_path / "whole", merge=True)
    assert "adapter" in (tmp_path / "whole" / "tokenizer_config.json").read_text()
    assert not (tmp_path / "whole" / "chat_template.jinja").exists()
    assert (tmp_path / "whole" / "config.json").read_bytes() == (
        tmp_path / "sft" / "config.json"
    ).read_bytes()


def test_an_embedding_that_the_head_is_tied_to(tmp_path: Path) -> None:
    save_llama(tmp_path / "sft", seed=1, tied=True)
    save_adapter(tmp_path / "sft", tmp_path / "adapter", target_modules=["embed_tokens"])
    with pytest.raises(MismatchError, match="the head is tied to it"):
        make(tmp_path / "adapter", tmp_path / "out", merge=True)


def test_a_resized_vocabulary_is_refused(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from tests.weights.adapters import TARGETS, load

    save_llama(tmp_path / "sft", seed=1, tied=False)
    model = load(tmp_path / "sft")
    model.resize_token_embeddings(104)
    get_peft_model(model, LoraConfig(target_modules=TARGETS)).save_pretrained(
        tmp_path / "adapter", save_embedding_layers=True
    )
    with pytest.raises(MismatchError, match="the vocabulary was resized in training"):
        make(tmp_path / "adapter", tmp_path / "out", merge=True)


def test_a_stated_dtype_of_a_merge_is_said(tmp_path: Path) -> None:
    """config.json is the SFT model's with one change, as for whole checkpoints."""
    save_llama(tmp_path / "sft", seed=1, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    manifest = make(tmp_path / "adapter", tmp_path / "out", merge=True, output_dtype="float32")
    assert "config.json: its dtype is set to float32, so that the model loads as written" in manifest.notices
    stated = json.loads((tmp_path / "out" / "config.json").read_text())
    assert stated.get("dtype", stated.get("torch_dtype")) == "float32"
    assert {tensor.dtype for tensor in read_tensors(tmp_path / "out").values()} == {torch.float32}
    assert not make(tmp_path / "adapter", tmp_path / "same", merge=True).notices[1:]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("moved", ["nothing", "magnitudes", "head"])
def test_dora_before_its_training(tmp_path: Path, moved: str, dtype: torch.dtype) -> None:
    """Magnitudes are rounded norms, so no update is exactly zero. With one part trained it is merged."""
    save_llama(tmp_path / "sft", seed=1, dtype=dtype, tied=False)
    settings: dict[str, Any] = {"modules_to_save": ["lm_head"]} if moved == "head" else {}
    save_adapter(tmp_path / "sft", tmp_path / "adapter", use_dora=True, init_lora_weights=True, **settings)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    norms = _row_norms(tmp_path / "sft", tensors, dtype)
    factor = 1.02 if moved == "magnitudes" else 1.0
    save_file(tensors | {name: factor * norm for name, norm in norms.items()}, file)
    if moved == "nothing":
        with pytest.raises(CorruptError, match="the adapter changes nothing"):
            make(tmp_path / "adapter", tmp_path / "out", merge=True)
        assert not (tmp_path / "out" / "manifest.json").exists()
    else:
        assert make(tmp_path / "adapter", tmp_path / "out", merge=True).files


def _row_norms(sft: Path, adapter: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter's magnitudes as peft starts them: the rows' norms, in the weights' dtype."""
    weights, norms = read_tensors(sft), {}
    for name in (name for name in adapter if name.endswith("lora_magnitude_vector")):
        module = name.removeprefix("base_model.model.").removesuffix(".lora_magnitude_vector")
        norms[name] = weights[f"{module}.weight"].float().norm(dim=1).to(dtype).to(adapter[name].dtype)
    return norms
