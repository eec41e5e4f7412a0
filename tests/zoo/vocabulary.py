"""Small real tokenizers: SentencePiece's kind of BPE (Llama 2, Mistral, InternLM2) and Llama 3's.

Each is trained on a few lines. Special tokens stand where the real ones do (first, behind, or
last), by their real strings.
"""

import json
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

__all__ = ["TURN_ENDS", "ids_of", "tokenizer_files", "tokenizer_of"]

TEXT = """\
The quick brown fox jumps over the lazy dog while the rain in the mountains falls on the little town.
What is the capital of France, and how many people live there? Write a short poem about the sea.
Explain to a child why the sky is blue. Give me three reasons to learn another language this year.
There are many ways to make bread; the best one needs flour, water, salt, time and a hot oven.
def add(a, b): return a + b  # the sum of two numbers, which is what the function was asked for
In the beginning was the word, and then came the sentence, the paragraph, the chapter and the book.
"""
MERGED = 480
FIRST = ("<unk>", "<s>", "</s>")

# beside those that every tokenizer of the kind has
SPECIAL_TOKENS: dict[str, tuple[str, ...]] = {
    "mistral": (),
    "llama2": (),
    "openchat": ("<|end_of_turn|>", "<|pad_0|>"),
    "internlm2": (
        *("<|plugin|>", "<|interpreter|>", "<|action_end|>"),
        *("<|action_start|>", "<|im_end|>", "<|im_start|>"),
    ),
    "llama3": (
        *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"),
        *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
}
# what a turn ends with; not every generation config names it
TURN_ENDS = {"openchat": "<|end_of_turn|>", "internlm2": "<|im_end|>", "llama3": "<|eot_id|>"}
CODE_OF_TOKENIZER = "tokenization_internlm2_fast.py"
CLASSES = {"llama3": "PreTrainedTokenizerFast", "internlm2": "InternLM2Tokenizer"}


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """The tokenizer of a kind, with its special tokens at the end of the vocabulary."""
    tokenizer = _byte_level() if kind == "llama3" else _sentence_pieces()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS[kind]])
    bos = "<|begin_of_text|>" if kind == "llama3" else "<s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return tokenizer


def ids_of(kind: str, strings: tuple[str, ...]) -> list[int]:
    """The ids of tokens; every one of them is in the vocabulary."""
    return [tokenizer_of(kind).get_vocab()[token] for token in strings]


def tokenizer_files(kind: str, eos: str, template: str | None) -> dict[str, bytes]:
    """tokenizer.json, tokenizer_config.json (with the chat template in it) and special_tokens_map.json."""
    tokens = {"bos_token": "<|begin_of_text|>" if kind == "llama3" else "<s>", "eos_token": eos}
    if kind != "llama3":
        tokens |= {"unk_token": "<unk>"}
    config: dict[str, object] = {
        **tokens,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "tokenizer_class": CLASSES.get(kind, "LlamaTokenizer"),
    }
    if kind == "internlm2":
        code = CODE_OF_TOKENIZER.removesuffix(".py")
        config["auto_map"] = {"AutoTokenizer": [None, f"{code}.InternLM2TokenizerFast"]}
    if template is not None:
        config["chat_template"] = template
    return {
        "tokenizer.json": tokenizer_of(kind).to_str(pretty=True).encode(),
        "tokenizer_config.json": json.dumps(config, indent=2).encode(),
        "special_tokens_map.json": json.dumps(tokens, indent=2).encode(),
    }


def _sentence_pieces() -> Tokenizer:
    """Pieces with "▁" for a space; what no piece spells falls back to bytes."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    model = _trained(pieces, MERGED - len(FIRST) - 256, [])
    pieces_in_order = sorted(model["vocab"], key=lambda piece: model["vocab"][piece])
    tokens = [*FIRST, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces_in_order]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(pair) for pair in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in FIRST])
    return tokenizer


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    _trained(tokenizer, MERGED, sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _trained(tokenizer: Tokenizer, size: int, alphabet: list[str]) -> dict[str, Any]:
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model
