"""InternLM2's fast tokenizer, by the name under which its repositories bring it."""

from transformers import PreTrainedTokenizerFast

__all__ = ["InternLM2TokenizerFast"]


class InternLM2TokenizerFast(PreTrainedTokenizerFast):  # type: ignore[misc]
    _auto_class = "AutoTokenizer"
