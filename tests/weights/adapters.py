"""Adapters to test with: written by peft itself on a tiny Llama or GPT-2, and merged by it for comparison."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.adapter_base import adapter_mode, open_parents
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.pass_options import Parents
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

TARGETS = ["q_proj", "v_proj", "down_proj"]


def load(folder: Path) -> Any:  # noqa: ANN401 - transformers has no types
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


def save_gpt2(folder: Path, seed: int) -> None:
    """A GPT-2 of two layers, whose Conv1D weights are stored transposed, some of them square."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(folder)


def save_adapter(sft: Path, folder: Path, seed: int = 3, **settings: Any) -> None:  # noqa: ANN401
    """An adapter with random factors, and whatever else it trains moved a little."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        **({"r": 6, "lora_alpha": 8, "target_modules": TARGETS, "init_lora_weights": False} | settings)
    )
    model = get_peft_model(load(sft), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name and "lora_B" not in name:
                parameter.add_(0.05 * torch.randn(parameter.shape).to(parameter.dtype))
    model.save_pretrained(folder)


def merged_by_peft(sft: Path, adapter: Path) -> dict[str, Tensor]:
    """The state dict of `merge_and_unload`, in fp32 and without aliases."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load(sft).float(), adapter)
    return dict(model.merge_and_unload().named_parameters())


def parents_of(adapter: Path, sft: Path | None = None) -> Parents:
    return open_parents(str(adapter), str(sft) if sft else None)


def make(folder: Path, out: Path, merge: bool = False, **settings: Any) -> Manifest:  # noqa: ANN401
    """The output of an adapter on the base model that it names."""
    parents = parents_of(folder)
    recipe = Recipe.model_validate(
        {
            "aligned": parents.aligned.checkpoint,
            "sft": parents.sft.checkpoint,
            "alpha": 0.5,
            "adapter": adapter_mode(parents.aligned, merge),
        }
        | settings
    )
    return extrapolate(make_plan(recipe, *parents), *parents, Artefact(str(out)))


def edit_config(adapter: Path, **values: object) -> FolderSource:
    """The adapter with other values in its adapter_config.json."""
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return FolderSource(adapter)
