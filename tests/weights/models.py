"""Real models of a few thousand parameters, written by transformers itself."""

from pathlib import Path

import torch


def save_llama(folder: Path, seed: int, dtype: torch.dtype = torch.bfloat16, tied: bool = True) -> None:
    """A Llama of two layers, in several shards."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder, max_shard_size="20KB")
