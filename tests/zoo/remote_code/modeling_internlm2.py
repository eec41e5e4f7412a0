"""InternLM2 for transformers: a short stand-in for the file of that name in its repositories.

The same classes and parameter names, and the same arithmetic up to max_position_embeddings
(beyond it "dynamic" rope scaling would begin, which is left out). No cache, no padding.

Shapes: B sequences, T tokens, H heads, D dimensions of a head.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .configuration_internlm2 import InternLM2Config

__all__ = ["InternLM2ForCausalLM"]


def _rotated(x_BHTD: Tensor, theta: float) -> Tensor:
    half = x_BHTD.shape[-1] // 2
    inverse = theta ** (-torch.arange(half, device=x_BHTD.device).float() / half)
    angles = torch.arange(x_BHTD.shape[-2], device=x_BHTD.device)[:, None] * inverse
    cos, sin = angles.cos().to(x_BHTD.dtype), angles.sin().to(x_BHTD.dtype)
    one, other = x_BHTD[..., :half], x_BHTD[..., half:]
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


class InternLM2Attention(nn.Module):
    def __init__(self, config: InternLM2Config) -> None:
        super().__init__()
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.dimensions, self.theta = config.hidden_size // self.heads, config.rope_theta
        width = (self.heads + 2 * self.groups) * self.dimensions
        self.wqkv = nn.Linear(config.hidden_size, width, bias=config.bias)
        self.wo = nn.Linear(self.heads * self.dimensions, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        each = self.heads // self.groups  # queries that share a key; they lie before it in the matrix
        mixed = self.wqkv(x).view(batch, length, self.groups, each + 2, self.dimensions)
        queries = mixed[..., :each, :].reshape(batch, length, self.heads, self.dimensions).transpose(1, 2)
        keys, values = (mixed[..., place, :].transpose(1, 2) for place in (-2, -1))
        y = nn.functional.scaled_dot_product_attention(
            _rotated(queries, self.theta), _rotated(keys, self.theta), values, is_causal=True, enable_gqa=True
        )
        out: Tensor = self.wo(y.transpose(1, 2).reshape(batch, length, -1))
        return out


class InternLM2MLP(nn.Module):
    def __init__(self, config: InternLM2Config) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))
        return out


class InternLM2DecoderLayer(nn.Module):
    def __init__(self, config: InternLM2Config) -> None:
        super().__init__()
        self.attention = InternLM2Attention(config)
        self.feed_forward = InternLM2MLP(config)
        self.attention_norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.ffn_norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class InternLM2PreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    config_class = InternLM2Config
    base_model_prefix = "model"
    _no_split_modules = ("InternLM2DecoderLayer",)


class InternLM2Model(InternLM2PreTrainedModel):
    _auto_class = "AutoModel"

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(InternLM2DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.tok_embeddings(input_ids)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x)
        return out


class InternLM2ForCausalLM(InternLM2PreTrainedModel):
    _auto_class = "AutoModelForCausalLM"

    def __init__(self, config: InternLM2Config) -> None:
        super().__init__(config)
        self.model = InternLM2Model(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutputWithPast:  # noqa: ANN401
        return CausalLMOutputWithPast(logits=self.output(self.model(input_ids)))
