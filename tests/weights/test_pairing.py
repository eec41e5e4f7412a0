"""Kinds of checkpoints as people have them: paired where they can be, refused on one screen where not."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import MismatchError
from tasks.weights.jobs import Plan
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import Tensors, recipe
from tests.weights.pairs import EMBEDDING, HEAD, NAMES, expected, plan_of, refusal, run, tensors, write

# --- prefixes


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "base_model.model.", "module._orig_mod."])
@pytest.mark.parametrize("side", ["aligned", "sft"])
def test_wrappers_of_trainers(tmp_path: Path, prefix: str, side: str) -> None:
    """Taken off, also in the output: no engine knows such names."""
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    wrapped = {prefix + name: tensor for name, tensor in (new if side == "aligned" else old).items()}
    plan = plan_of(tmp_path, wrapped if side == "aligned" else new, wrapped if side == "sft" else old)
    assert "without" in plan.notices[0] and len(plan.notices) == 1
    found = run(plan, tmp_path)
    assert found.keys() == new.keys()
    for name in NAMES:
        assert torch.equal(found[name], expected(new[name], old[name]))


def test_compiled_modules_inside(tmp_path: Path) -> None:
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    compiled = {name.replace("layers.0.", "layers.0._orig_mod."): tensor for name, tensor in new.items()}
    assert run(plan_of(tmp_path, compiled, old), tmp_path).keys() == new.keys()


@pytest.mark.parametrize("prefix", ["language_model.", "model.language_model.", "transformer."])
def test_one_prefix_explains_all(tmp_path: Path, prefix: str) -> None:
    """The output has the aligned side's names, since its config says what loads them."""
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    longer = {prefix + name: tensor for name, tensor in new.items()}
    plan = plan_of(tmp_path / "one", longer, old)
    notice = f"4 tensors are paired by one prefix: the aligned side's names begin with {prefix!r}"
    assert plan.notices[0].startswith(notice)
    found = run(plan, tmp_path / "one")
    assert torch.equal(found[prefix + EMBEDDING], expected(new[EMBEDDING], old[EMBEDDING]))
    shorter = plan_of(tmp_path / "two", old, longer)
    assert "the SFT side's names begin with" in shorter.notices[0]
    assert run(shorter, tmp_path / "two").keys() == old.keys()


def test_older_and_newer_names_of_wrapped_models(tmp_path: Path) -> None:
    old_names = ("language_model.model.layers.0.w", "vision_tower.w", "multi_modal_projector.w")
    new_names = ("model.language_model.layers.0.w", "model.vision_tower.w", "model.multi_modal_projector.w")
    new, old = tensors(*new_names, seed=1), tensors(*old_names, seed=2)
    found = run(plan_of(tmp_path, new, old), tmp_path)
    for name, other in zip(new_names, old_names, strict=True):
        assert torch.equal(found[name], expected(new[name], old[other]))


def test_a_prefix_that_explains_only_a_part_is_refused(tmp_path: Path) -> None:
    """A text model alone against the whole wrapper: the vision tower has no counterpart."""
    new = tensors("language_model.model.layers.0.w", "vision_tower.w")
    message = refusal(tmp_path, new, tensors("model.layers.0.w", seed=2))
    assert "vision_tower.w: only in the aligned checkpoint" in message
    assert "layers.0" not in message


# --- what is no pair of weights


def test_empty_placeholders(tmp_path: Path) -> None:
    empty = {name: torch.zeros(0) for name in NAMES}
    for number, (new, old) in enumerate([(empty, empty), (empty, tensors(*NAMES)), (tensors(*NAMES), empty)]):
        assert "placeholders as DeepSpeed ZeRO-3 leaves them" in refusal(tmp_path / str(number), new, old)
    half = tensors(*NAMES) | {NAMES[1]: torch.zeros(0)}
    assert "consolidate first" in refusal(tmp_path / "half", half, half)


def quantized(kind: str) -> dict[str, Tensor]:
    scales = {"model.layers.0.mlp.up_proj.weight_scale_inv": torch.ones(1, 1)}
    by_kind: dict[str, dict[str, Tensor]] = {
        "fp8": {NAMES[1]: torch.ones(4, 4).to(torch.float8_e4m3fn)} | scales,
        "mxfp8": {
            NAMES[1]: torch.ones(4, 4).to(torch.float8_e4m3fn),
            "model.layers.0.mlp.up_proj.weight_scale": torch.ones(4, 1).to(torch.float8_e8m0fnu),
        },
        "gptq": {"model.layers.0.mlp.up_proj.qweight": torch.ones(4, 4, dtype=torch.int32)},
        "bitsandbytes": {
            NAMES[1]: torch.ones(8, 1, dtype=torch.uint8),
            f"{NAMES[1]}.absmax": torch.ones(2),
            f"{NAMES[1]}.quant_map": torch.ones(16),
        },
        # FSDP-QLoRA's packed nibbles under the dtype BF16
        "bitsandbytes as BF16": {
            NAMES[1]: torch.ones(8, 1).bfloat16(),
            f"{NAMES[1]}.absmax": torch.ones(2),
        },
        "compressed-tensors": {"model.layers.0.mlp.up_proj.weight_packed": torch.ones(4, dtype=torch.int32)},
        "mxfp4": {"model.layers.0.mlp.experts.down_proj_blocks": torch.ones(4, 4, dtype=torch.uint8)},
    }  # fmt: skip
    return by_kind[kind] | tensors(EMBEDDING)


QUANTIZED = ["fp8", "mxfp8", "gptq", "bitsandbytes", "bitsandbytes as BF16", "compressed-tensors", "mxfp4"]


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_side_is_one_line(tmp_path: Path, kind: str) -> None:
    """By names and dtypes alone: the config says nothing."""
    message = refusal(tmp_path / "one", quantized(kind), tensors(*NAMES))
    assert len(message.splitlines()) == 2
    assert "the aligned checkpoint" in message and "is quantized" in message
    assert "the SFT checkpoint" in refusal(tmp_path / "two", tensors(*NAMES), quantized(kind))
    assert len(refusal(tmp_path / "both", quantized(kind), quantized(kind)).splitlines()) == 3


def test_quantized_by_its_config(tmp_path: Path) -> None:
    new = write(tmp_path / "a", tensors(*NAMES), quantization_config={"quant_method": "bitsandbytes"})
    old = write(tmp_path / "s", tensors(*NAMES, seed=2))
    with pytest.raises(MismatchError, match=r"quantized \(bitsandbytes\), its tensors are plain numbers"):
        make_plan(recipe(new, old), new, old)


def test_the_same_checkpoint_twice(tmp_path: Path) -> None:
    source = write(tmp_path, tensors(*NAMES))
    with pytest.raises(MismatchError, match="both sides have the same weights"):
        make_plan(recipe(source, source), source, source)


def test_every_update_zero(tmp_path: Path) -> None:
    """A copy elsewhere looks like another checkpoint until its weights are read."""
    new = tensors(*NAMES)
    with pytest.raises(MismatchError, match="have the same weights: every update is zero"):
        run(plan_of(tmp_path, new, new), tmp_path)
    assert not (tmp_path / "out" / "manifest.json").exists()


# --- tensors of one side alone


def test_extra_parameters(tmp_path: Path) -> None:
    new, old = tensors(*NAMES, "mtp.0.w", seed=1), tensors(*NAMES, "v_head.w", seed=2)
    message = refusal(tmp_path / "refused", new, old)
    assert "mtp.0.w: only in the aligned checkpoint" in message and "v_head.w: only in the SFT" in message
    plan = plan_of(tmp_path, new, old, extra="aligned")
    assert (plan.copied, plan.skipped) == (("mtp.0.w",), ("v_head.w",))
    found = run(plan, tmp_path)
    assert torch.equal(found["mtp.0.w"], new["mtp.0.w"]) and "v_head.w" not in found
    assert torch.equal(found[EMBEDDING], expected(new[EMBEDDING], old[EMBEDDING]))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["copied"], manifest["skipped"]) == (["mtp.0.w"], ["v_head.w"])


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("h.0.attn.bias", torch.ones(1, 1, 4, 4)),
        ("h.0.attn.bias", torch.ones(1, 1, 4, 4, dtype=torch.bool)),
        ("gpt_neox.layers.0.attention.bias", torch.ones(1, 1, 4, 4)),
        ("gpt_neox.layers.0.attention.masked_bias", torch.tensor(-1e9)),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", torch.rand(8)),
        ("mask", torch.ones(3, dtype=torch.bool)),
    ],
)
def test_buffers(tmp_path: Path, name: str, buffer: Tensor) -> None:
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    found = run(plan_of(tmp_path / "aligned alone", new | {name: buffer}, old), tmp_path / "aligned alone")
    assert torch.equal(found[name], buffer)
    assert plan_of(tmp_path / "sft alone", new, old | {name: buffer}).skipped == (name,)
    both = plan_of(tmp_path / "both", new | {name: buffer}, old | {name: buffer})
    assert both.copied == (name,)


def test_trained_bias_of_attention_is_no_buffer(tmp_path: Path) -> None:
    new = tensors("a") | {"h.0.attn.bias": torch.ones(6)}
    assert "h.0.attn.bias: only in the aligned" in refusal(tmp_path, new, tensors("a", seed=2))


def test_numbers_that_are_not_floats(tmp_path: Path) -> None:
    """Equal on both sides they are copied; different ones nobody can extrapolate."""
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    count = {"steps": torch.arange(5)}
    found = run(plan_of(tmp_path / "same", new | count, old | count), tmp_path / "same")
    assert torch.equal(found["steps"], count["steps"])
    other = {"steps": torch.arange(5) + 1}
    assert "steps: I64 and I64; only" in refusal(tmp_path / "other", new | count, old | other)


def test_float64_says_what_to_do(tmp_path: Path) -> None:
    new = {name: tensor.double() for name, tensor in tensors(*NAMES).items()}
    message = refusal(tmp_path, new, tensors(*NAMES))
    assert "4 tensors, as" in message and "save it as float32" in message


# --- ties


def tied(folder: Path, new: Tensors, old: Tensors) -> Plan:
    aligned = write(folder / "aligned", new, tie_word_embeddings=True)
    sft = write(folder / "sft", old, tie_word_embeddings=True)
    return make_plan(recipe(aligned, sft), aligned, sft)


def test_head_saved_and_embedding_dropped(tmp_path: Path) -> None:
    """safetensors' save_model keeps one name of the two; the output has the embedding again."""
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    kept = {HEAD if name == EMBEDDING else name: tensor for name, tensor in new.items()}
    found = run(tied(tmp_path / "aligned", kept, old), tmp_path / "aligned")
    assert torch.equal(found[EMBEDDING], expected(new[EMBEDDING], old[EMBEDDING])) and HEAD not in found
    kept = {HEAD if name == EMBEDDING else name: tensor for name, tensor in old.items()}
    found = run(tied(tmp_path / "sft", new, kept), tmp_path / "sft")
    assert torch.equal(found[EMBEDDING], expected(new[EMBEDDING], old[EMBEDDING]))


def test_trained_head_that_a_tie_drops(tmp_path: Path) -> None:
    new, old = tensors(*NAMES, seed=1), tensors(*NAMES, seed=2)
    head = {HEAD: new[EMBEDDING] + 0.25}
    for number, (new_tensors, old_tensors, side) in enumerate(
        ((new | head, old, "aligned"), (new, old | head, "SFT"))
    ):
        with pytest.raises(MismatchError, match=rf"lm_head\.weight: the {side} checkpoint .* loading drops"):
            tied(tmp_path / str(number), new_tensors, old_tensors)
    equal = tied(tmp_path / "equal", new, old | {HEAD: old[EMBEDDING].clone()})
    assert equal.skipped == (HEAD,)
