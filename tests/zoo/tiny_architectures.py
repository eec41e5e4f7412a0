"""Tiny models of architectures beyond the fourteen families, by transformers' own classes.

    aligned, sft = write_architecture(folder, "Qwen3-MoE")       with a tokenizer, and a processor for images

Real: classes, tensor names, ties, how experts and linear attention are stored. Not real: sizes
(under 1 MB a checkpoint) and weights (seeded noise, a little apart within a pair).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.stores.folder_source import FolderSource
from tests.zoo.templates import LLAMA3
from tests.zoo.vocabulary import tokenizer_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["ARCHITECTURES", "PROCESSORS", "write_architecture"]

HEAD_DIM = 32  # the least that vLLM has on a CPU
SPREAD, UPDATE = 0.15, 0.02
BEGIN, END = "<|begin_of_text|>", "<|eot_id|>"
IMAGE = {"image_token": "<image>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
VISION = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 128,  # vLLM's kernels on a CPU have 64 and 128
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_conv_kernel_dim": 4,
}
MAMBA = {
    "mamba_n_heads": 4,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_chunk_size": 16,
}


def write_architecture(folder: Path, name: str) -> tuple[FolderSource, FolderSource]:
    """Writes the pair of an architecture; its aligned and its SFT side."""
    return _write(folder / "aligned", name, seed=1), _write(folder / "sft", name, seed=2)


def _write(folder: Path, name: str, seed: int) -> FolderSource:
    """One side: the same model for both, moved by other noise, as after some training."""
    import torch

    torch.manual_seed(0)
    model = ARCHITECTURES[name]().bfloat16()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(UPDATE * torch.randn(parameter.shape).to(parameter.dtype))
    model.save_pretrained(folder, max_shard_size="60KB")
    _tokenizer().save_pretrained(folder)
    if name in PROCESSORS:
        PROCESSORS[name]().save_pretrained(folder)
    return FolderSource(folder)


@cache
def _tokenizer() -> "PreTrainedTokenizerFast":
    """Llama 3's kind, with tokens for images."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_of("llama3").to_str()),
        bos_token=BEGIN,
        eos_token=END,
        extra_special_tokens=IMAGE,
    )
    tokenizer.chat_template = LLAMA3
    return tokenizer


def _id(token: str) -> int:
    return int(_tokenizer().convert_tokens_to_ids(token))


def _text(**more: object) -> dict[str, object]:
    """The fields of config.json that nearly all of these architectures have."""
    return {
        "vocab_size": len(_tokenizer()),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 1024,
        "initializer_range": SPREAD,
        "bos_token_id": _id(BEGIN),
        "eos_token_id": _id(END),
        "pad_token_id": 2,
    } | more


def _made(model: str, config: str, **fields: object) -> Any:  # noqa: ANN401 (transformers is not typed)
    import transformers

    return getattr(transformers, model)(getattr(transformers, config)(**fields))


def _gemma3_with_images() -> Any:  # noqa: ANN401
    images = {"image_token_index": IMAGE["image_token"], "boi_token_index": IMAGE["boi_token"]}
    images["eoi_token_index"] = IMAGE["eoi_token"]
    return _made(
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        text_config=_text(query_pre_attn_scalar=HEAD_DIM, sliding_window=32),
        vision_config=VISION,
        mm_tokens_per_image=4,
        **{field: _id(token) for field, token in images.items()},
    )


def _gemma3_processor() -> Any:  # noqa: ANN401
    from transformers import Gemma3ImageProcessorPil, Gemma3Processor

    size = {"height": VISION["image_size"], "width": VISION["image_size"]}
    return Gemma3Processor(
        Gemma3ImageProcessorPil(size=size), _tokenizer(), chat_template=LLAMA3, image_seq_length=4
    )


def _llava() -> Any:  # noqa: ANN401
    from transformers import CLIPVisionConfig, LlamaConfig

    return _made(
        "LlavaForConditionalGeneration",
        "LlavaConfig",
        text_config=LlamaConfig(**_text()),
        vision_config=CLIPVisionConfig(**VISION, projection_dim=64),
        image_token_index=_id(IMAGE["image_token"]),
        vision_feature_layer=-1,
    )


def _llava_processor() -> Any:  # noqa: ANN401
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    side = VISION["image_size"]
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LlavaProcessor(
        images,
        _tokenizer(),
        patch_size=VISION["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAMA3,
    )


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "Qwen3, tied": lambda: _made("Qwen3ForCausalLM", "Qwen3Config", **_text(tie_word_embeddings=True)),
    "Gemma 2": lambda: _made(
        "Gemma2ForCausalLM", "Gemma2Config", **_text(query_pre_attn_scalar=HEAD_DIM, sliding_window=32)
    ),
    "Phi-3": lambda: _made("Phi3ForCausalLM", "Phi3Config", **_text()),
    "GPT-NeoX": lambda: _made("GPTNeoXForCausalLM", "GPTNeoXConfig", **_text()),
    "Qwen3-MoE": lambda: _made("Qwen3MoeForCausalLM", "Qwen3MoeConfig", **_text(**EXPERTS)),
    "Mixtral": lambda: _made(
        "MixtralForCausalLM", "MixtralConfig", **_text(num_local_experts=4, num_experts_per_tok=2)
    ),
    "Gemma 3 with images": _gemma3_with_images,
    "LLaVA": _llava,
    "Qwen3-Next": lambda: _made(
        "Qwen3NextForCausalLM",
        "Qwen3NextConfig",
        **_text(**EXPERTS, **LINEAR, shared_expert_intermediate_size=32),
    ),
    "LFM2": lambda: _made("Lfm2ForCausalLM", "Lfm2Config", **_text(layer_types=["conv", "full_attention"])),
    "Falcon-H1": lambda: _made("FalconH1ForCausalLM", "FalconH1Config", **_text(**MAMBA)),
}
PROCESSORS: dict[str, Callable[[], Any]] = {
    "Gemma 3 with images": _gemma3_processor,
    "LLaVA": _llava_processor,
}
