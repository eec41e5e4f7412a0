"""Seeded weights under the real names, and the files that a real checkpoint keeps them in."""

import io
import json
import zlib
from collections.abc import Iterator
from itertools import pairwise

import torch
from safetensors.torch import save
from torch import Tensor

from tests.zoo.tiny_families import FamilySpec, Side

__all__ = ["HEAD_DIM", "HIDDEN", "MIDDLE", "weight_files"]

HIDDEN, MIDDLE = 64, 128
HEAD_DIM = 32  # the least that vLLM has on a CPU
SPREAD, UPDATE = 0.15, 0.02
LOUDER = 3.0  # the row of the token that ends turns: so that some answers end and some do not
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def weight_files(
    name: str, spec: FamilySpec, side: Side, vocabulary: int, turn_end: int, *, sft: bool
) -> dict[str, bytes]:
    """The weight files of one checkpoint by name, with an index where there are several.

    The noise depends on the tensor's and the pair's name; the SFT side lies a little apart.
    """
    shapes = _internlm2(spec, vocabulary) if spec.kind == "internlm2" else _llama(spec, vocabulary)
    dtype = getattr(torch, spec.dtype)
    tensors = {key: _tensor(f"{name}/{key}", shape, sft) for key, shape in shapes}
    head = "output.weight" if spec.kind == "internlm2" else "lm_head.weight"
    tensors[head][turn_end] *= LOUDER
    tensors = {key: tensor.to(dtype) for key, tensor in tensors.items()}
    if side.buffers:
        frequencies = 1 / 10000 ** (torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        for layer in range(spec.layers):
            tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = frequencies.clone()
    files: dict[str, bytes] = {}
    if side.form in ("safetensors", "both"):
        files |= _safetensors(_cut(tensors, side.shards))
    if side.form in ("pickle", "both"):
        files |= _pickles(_cut(tensors, 2 if side.form == "both" else side.shards))
    return files


def _tensor(name: str, shape: tuple[int, ...], sft: bool) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if len(shape) == 1:
        weights = 1 + SPREAD * torch.randn(shape, generator=generator)
    else:
        weights = SPREAD * torch.randn(shape, generator=generator)
    update = UPDATE * torch.randn(shape, generator=generator)
    return weights - update if sft else weights


def _llama(spec: FamilySpec, vocabulary: int) -> Shapes:
    """The names of Llama and Mistral."""
    queries, keys = (count * HEAD_DIM for count in spec.heads)
    yield "model.embed_tokens.weight", (vocabulary, HIDDEN)
    for layer in range(spec.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "self_attn.q_proj.weight", (queries, HIDDEN)
        yield prefix + "self_attn.k_proj.weight", (keys, HIDDEN)
        yield prefix + "self_attn.v_proj.weight", (keys, HIDDEN)
        yield prefix + "self_attn.o_proj.weight", (HIDDEN, queries)
        yield prefix + "mlp.gate_proj.weight", (MIDDLE, HIDDEN)
        yield prefix + "mlp.up_proj.weight", (MIDDLE, HIDDEN)
        yield prefix + "mlp.down_proj.weight", (HIDDEN, MIDDLE)
        yield prefix + "input_layernorm.weight", (HIDDEN,)
        yield prefix + "post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (vocabulary, HIDDEN)


def _internlm2(spec: FamilySpec, vocabulary: int) -> Shapes:
    """InternLM2's own names; queries, keys and values lie in one matrix, group by group."""
    heads, groups = spec.heads
    yield "model.tok_embeddings.weight", (vocabulary, HIDDEN)
    for layer in range(spec.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "attention.wqkv.weight", ((heads + 2 * groups) * HEAD_DIM, HIDDEN)
        yield prefix + "attention.wo.weight", (HIDDEN, heads * HEAD_DIM)
        yield prefix + "feed_forward.w1.weight", (MIDDLE, HIDDEN)
        yield prefix + "feed_forward.w3.weight", (MIDDLE, HIDDEN)
        yield prefix + "feed_forward.w2.weight", (HIDDEN, MIDDLE)
        yield prefix + "attention_norm.weight", (HIDDEN,)
        yield prefix + "ffn_norm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "output.weight", (vocabulary, HIDDEN)


def _cut(tensors: dict[str, Tensor], shards: int) -> list[dict[str, Tensor]]:
    """So many shards of about equally many tensors."""
    names = list(tensors)
    ends = [round(number * len(names) / shards) for number in range(shards + 1)]
    return [{name: tensors[name] for name in names[a:b]} for a, b in pairwise(ends)]


def _safetensors(shards: list[dict[str, Tensor]]) -> dict[str, bytes]:
    contents = [save(shard, {"format": "pt"}) for shard in shards]
    return _named(shards, contents, "model{}.safetensors", "model.safetensors.index.json")


def _pickles(shards: list[dict[str, Tensor]]) -> dict[str, bytes]:
    contents = []
    for shard in shards:
        file = io.BytesIO()
        torch.save(shard, file)
        contents.append(file.getvalue())
    return _named(shards, contents, "pytorch_model{}.bin", "pytorch_model.bin.index.json")


def _named(shards: list[dict[str, Tensor]], contents: list[bytes], name: str, index: str) -> dict[str, bytes]:
    if len(shards) == 1:
        return {name.format(""): contents[0]}
    files: dict[str, bytes] = {}
    weight_map: dict[str, str] = {}
    for number, (shard, content) in enumerate(zip(shards, contents, strict=True), start=1):
        file = name.format(f"-{number:05d}-of-{len(shards):05d}")
        files[file] = content
        weight_map |= dict.fromkeys(shard, file)
    size = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    listing = {"metadata": {"total_size": size}, "weight_map": weight_map}
    return files | {index: json.dumps(listing, indent=2).encode()}
