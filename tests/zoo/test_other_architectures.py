"""Architectures beyond the fourteen families: nothing is matched through a list, so nothing is dropped.

Tiny models of transformers' own classes, saved by transformers: a mixture of experts, a model for images
and text, a hybrid with linear attention, and one whose head is tied to its embedding.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import read_tensors, recipe

TEXT: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
ALPHA = 0.5  # exact in fp32, so that float64 gives the same bits


def mixture() -> Any:  # noqa: ANN401 (a class of transformers, which is not typed)
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**TEXT, **experts))


def images_and_text() -> Any:  # noqa: ANN401
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    tokens = {"image_token_index": 290, "boi_token_index": 291, "eoi_token_index": 292}
    return Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=TEXT, vision_config=vision, mm_tokens_per_image=4, **tokens)
    )


def hybrid() -> Any:  # noqa: ANN401
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    linear = {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_conv_kernel_dim": 4,
    }
    experts = {
        "moe_intermediate_size": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "shared_expert_intermediate_size": 16,
    }
    return Qwen3NextForCausalLM(Qwen3NextConfig(**TEXT, **linear, **experts))


def tied() -> Any:  # noqa: ANN401
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**TEXT, tie_word_embeddings=True))


MODELS: list[Callable[[], Any]] = [mixture, images_and_text, hybrid, tied]


def save(folder: Path, model: Callable[[], Any], seed: int) -> FolderSource:
    """The model of one side; the second seed's lies a little apart, as after some training."""
    torch.manual_seed(0)
    made = model().bfloat16()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape).to(parameter.dtype))
    made.save_pretrained(folder, max_shard_size="60KB")
    return FolderSource(folder)


@pytest.fixture(params=MODELS, ids=lambda model: model.__name__)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FolderSource, FolderSource]:
    return save(tmp_path / "aligned", request.param, 1), save(tmp_path / "sft", request.param, 2)


def exact(new: Tensor, old: Tensor) -> Tensor:
    """The formula in float64, rounded once."""
    return (new.double() + ALPHA * (new.double() - old.double())).to(new.dtype)


def test_every_tensor_is_extrapolated_and_loads(
    sides: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """No tensor is copied or skipped; transformers misses none, knows all, and computes with them."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    plan = make_plan(recipe(*sides, alpha=ALPHA), *sides)
    assert (plan.copied, plan.skipped, plan.notices) == ((), (), ())
    extrapolate(plan, *sides, Artefact(str(tmp_path / "out")))
    new, old, found = (read_tensors(tmp_path / name) for name in ("aligned", "sft", "out"))
    assert found.keys() == new.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, exact(new[name], old[name])), name
    config = AutoConfig.from_pretrained(tmp_path / "out")
    kind = AutoModelForImageTextToText if config.model_type == "gemma3" else AutoModelForCausalLM
    model, loaded = kind.from_pretrained(tmp_path / "out", output_loading_info=True, dtype="auto")
    assert not any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.isfinite(model.float()(input_ids=torch.arange(5, 15)[None]).logits).all()
