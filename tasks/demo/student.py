"""The tiny Llama that the demo trains, with its tokenizer: what it says, and how probable it finds it.

Shapes: B answers in a batch, T tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.values import Value
from tasks.demo import notes

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Pair", "Shape", "Student", "new_student"]

Pair = tuple[str, str]  # (instruction, answer)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
SPECIAL_TOKENS = [PAD, BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>"]


class Shape(Value):
    """The size of the model: 0.6 million parameters as it stands."""

    vocabulary: int = 1024
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    positions: int = 512


@dataclass(frozen=True)
class Student:
    """A model that is being trained (fp32), and its tokenizer."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def answers(self, asks: Sequence[str], max_tokens: int, temperature: float) -> list[str]:
        """One sampled answer to each instruction, without special tokens."""
        prompts = self.tokenizer([self._prompt(ask) for ask in asks], return_tensors="pt", padding=True)
        tokens_BT = self.model.generate(
            **prompts, do_sample=True, temperature=temperature, max_new_tokens=max_tokens
        )
        new_BT = tokens_BT[:, prompts["input_ids"].shape[1] :]
        return [str(text) for text in self.tokenizer.batch_decode(new_BT, skip_special_tokens=True)]

    def log_probs(self, pairs: Sequence[Pair]) -> tuple[Tensor, int]:
        """log p(answer and end token | instruction), shape (B,), fp32; and how many tokens these are."""
        import torch

        prompts = [self.tokenizer.encode(self._prompt(ask)) for ask, _ in pairs]
        answers = [self.tokenizer.encode(answer + EOS) for _, answer in pairs]
        longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
        tokens_BT = torch.full((len(pairs), longest), self.tokenizer.pad_token_id)
        counts_BT = torch.zeros(len(pairs), longest, dtype=torch.bool)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            end = len(prompt) + len(answer)
            tokens_BT[row, :end] = torch.tensor(prompt + answer)
            counts_BT[row, len(prompt) : end] = True
        logits_BTV = self.model(input_ids=tokens_BT[:, :-1], use_cache=False).logits
        log_BT = logits_BTV.log_softmax(-1).gather(-1, tokens_BT[:, 1:, None]).squeeze(-1)
        return (log_BT * counts_BT[:, 1:]).sum(-1), int(counts_BT.sum())

    def round_to_bfloat16(self) -> None:
        """Rounds the weights to what `save` writes, so that training goes on from the saved model."""
        self.model.bfloat16().float()

    def save(self, folder: Path, shard_bytes: int) -> None:
        """Writes bfloat16 safetensors in shards, the config, the tokenizer and its chat template."""
        with _no_bars():
            copy.deepcopy(self.model).bfloat16().save_pretrained(folder, max_shard_size=shard_bytes)
        self.tokenizer.save_pretrained(folder)

    def _prompt(self, instruction: str) -> str:
        turn = [{"role": "user", "content": instruction}]
        return str(self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' progress bars: they would break into the demo's own."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def new_student(asks: Sequence[str], shape: Shape, seed: int) -> Student:
    """An untrained model (weights from torch's generator) and a tokenizer made for the task."""
    tokenizer = _tokenizer(asks, shape.vocabulary, seed)
    return Student(model=_model(tokenizer, shape), tokenizer=tokenizer)


def _tokenizer(asks: Sequence[str], vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: it encodes any text, and the task's words become single tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    chance = random.Random(seed)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((f"{ask}\n{notes.note(ask, chance)}" for ask in asks), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _model(tokenizer: PreTrainedTokenizerFast, shape: Shape) -> LlamaForCausalLM:
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        **ends,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.7, top_p=0.9, top_k=50, **ends)
    return model
