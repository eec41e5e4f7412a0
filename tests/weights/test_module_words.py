"""Words for parts of a model mean the same in every architecture; ranges of layers."""

import pytest

from tasks.stores.source import Checkpoint
from tasks.weights.modules import MODULES, alpha_of
from tasks.weights.recipe import ModuleAlpha, Recipe

LLAMA = {
    "model.embed_tokens.weight": "embeddings",
    "model.layers.0.self_attn.q_proj.weight": "attention",
    "model.layers.0.post_attention_layernorm.weight": "norms",
    "model.layers.0.mlp.up_proj.weight": "mlp",
    "model.layers.11.self_attn.o_proj.weight": "attention",
    "model.norm.weight": "norms",
    "lm_head.weight": "head",
}


INTERNLM2 = {
    "model.tok_embeddings.weight": "embeddings",
    "model.layers.0.attention.wqkv.weight": "attention",
    "model.layers.0.attention_norm.weight": "norms",
    "model.layers.0.feed_forward.w1.weight": "mlp",
    "model.layers.11.ffn_norm.weight": "norms",
    "output.weight": "head",
}


FALCON = {
    "transformer.word_embeddings.weight": "embeddings",
    "transformer.h.0.self_attention.query_key_value.weight": "attention",
    "transformer.h.0.mlp.dense_h_to_4h.weight": "mlp",
    "transformer.h.0.input_layernorm.weight": "norms",
    "transformer.ln_f.weight": "norms",
    "lm_head.weight": "head",
}


GPT2 = {
    "transformer.wte.weight": "embeddings",
    "transformer.wpe.weight": "embeddings",
    "transformer.h.0.attn.c_attn.weight": "attention",
    "transformer.h.0.mlp.c_fc.weight": "mlp",
    "transformer.h.0.ln_1.weight": "norms",
}


QWEN3_NEXT = {
    "model.embed_tokens.weight": "embeddings",
    "model.layers.0.linear_attn.in_proj_qkvz.weight": "attention",
    "model.layers.3.self_attn.q_proj.weight": "attention",
    "model.layers.3.mlp.shared_expert.up_proj.weight": "mlp",
    "model.norm.weight": "norms",
    "lm_head.weight": "head",
}


OPT = {
    "model.decoder.embed_tokens.weight": "embeddings",
    "model.decoder.embed_positions.weight": "embeddings",
    "model.decoder.layers.0.self_attn.q_proj.weight": "attention",
    "model.decoder.layers.0.self_attn_layer_norm.weight": "norms",
}


@pytest.mark.parametrize(
    "names",
    [LLAMA, INTERNLM2, FALCON, GPT2, QWEN3_NEXT, OPT],
    ids=["llama", "internlm2", "falcon", "gpt2", "qwen3_next", "opt"],
)
def test_words_for_modules(names: dict[str, str]) -> None:
    """One recipe means the same in architectures that name their parts differently."""
    for word in MODULES:
        wanted = settings(ModuleAlpha(pattern=word, alpha=1.0))
        matched = [name for name in names if alpha_of(wanted, name) == 1.0]
        assert matched == [name for name, module in names.items() if module == word]


def test_layer_ranges() -> None:
    wanted = settings(
        ModuleAlpha(pattern="attention", layers=(0, 5), alpha=1.0),
        ModuleAlpha(pattern="", layers=(0, 11), alpha=2.0),
    )
    assert [alpha_of(wanted, name) for name in LLAMA] == [0.3, 1.0, 2.0, 2.0, 2.0, 0.3, 0.3]


def settings(*modules: ModuleAlpha) -> Recipe:
    nowhere = Checkpoint(uri="nowhere", commit="none")
    return Recipe(aligned=nowhere, sft=nowhere, alpha=0.3, module_alphas=modules)
