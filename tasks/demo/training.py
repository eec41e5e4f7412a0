"""Trains the demo's pair of checkpoints: SFT on short notes, then a little of DPO.

DPO stops early on purpose. The paper's method needs an aligned checkpoint that has moved the
right way and not yet far enough; extrapolation then goes on where training stopped. Plain SGD
keeps each step along the gradient, so that the difference of the checkpoints stays a
direction of the preference (Adam's first steps are mostly signs, and extrapolate badly).

All randomness comes from one seed, and the thread count is fixed: the same machine gives the
same bytes. torch is imported in the functions, so that importing this module is cheap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.demo import notes, rule
from tasks.values import Value

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Advance", "Trained", "Training", "train"]

Advance = Callable[[str, int, int], None]  # (what, steps done, steps in all)
Pair = tuple[str, str]  # (instruction, answer)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
SPECIAL_TOKENS = [PAD, BOS, EOS, "<|user|>", "<|assistant|>", "<|system|>"]


class Training(Value):
    """Everything that decides the two checkpoints and the instructions."""

    seed: int = 1
    threads: int = 2
    evaluation_instructions: int = 400
    alpha_instructions: int = 200
    vocabulary: int = 1024
    hidden: int = 128
    layers: int = 4
    sft_steps: int = 240
    sft_batch: int = 48
    sft_rate: float = 3e-3
    dpo_steps: int = 10
    dpo_pairs: int = 32
    dpo_rate: float = 0.03
    dpo_beta: float = 0.1
    samples: int = 4
    max_tokens: int = 64
    shard_bytes: int = 600_000


class Trained(Value):
    """Where the checkpoints are, and the SFT model's own answers to the held-out instructions."""

    sft: Path
    aligned: Path
    evaluation: tuple[tuple[str, str], ...]
    alphas: tuple[tuple[str, str], ...]


def train(folder: Path, training: Training, advance: Advance) -> Trained:
    """Trains both checkpoints into `folder`/sft and `folder`/aligned (bfloat16, several shards)."""
    splits = notes.splits(training.evaluation_instructions, training.alpha_instructions, training.seed)
    with _repeatable(training):
        tokenizer = _tokenizer(splits.train, training)
        model = _model(tokenizer, training)
        _sft(model, tokenizer, splits.train, training, advance)
        _save(model, tokenizer, folder / "sft", training)
        answers = _answers(model, tokenizer, splits.evaluation + splits.alphas, training)
        _dpo(model, tokenizer, splits.train, training, advance)
        _save(model, tokenizer, folder / "aligned", training)
    pairs = tuple(zip(splits.evaluation + splits.alphas, answers, strict=True))
    cut = len(splits.evaluation)
    return Trained(sft=folder / "sft", aligned=folder / "aligned", evaluation=pairs[:cut], alphas=pairs[cut:])


@contextmanager
def _repeatable(training: Training) -> Iterator[None]:
    """One seed and a fixed number of threads; the caller's own are put back."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _tokenizer(instructions: Sequence[str], training: Training) -> Any:
    """A byte-level BPE, so that any text can be encoded; the task's words become single tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    chance = random.Random(training.seed)
    bpe = ByteLevelBPETokenizer()
    texts = [f"{ask}\n{notes.note(ask, chance)}" for ask in instructions]
    bpe.train_from_iterator(
        texts, vocab_size=training.vocabulary, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _model(tokenizer: Any, training: Training) -> Any:
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=training.hidden,
        intermediate_size=3 * training.hidden,
        num_hidden_layers=training.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        **tokens,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.7, top_p=0.9, top_k=50, **tokens)
    return model


def _sft(model: Any, tokenizer: Any, asks: Sequence[str], training: Training, advance: Advance) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=training.sft_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.sft_rate, training.sft_steps, pct_start=0.1
    )
    chance = random.Random(training.seed + 1)
    for step in range(training.sft_steps):
        batch = chance.choices(asks, k=training.sft_batch)
        log_probs, tokens = _log_probs(model, tokenizer, [(ask, notes.note(ask, chance)) for ask in batch])
        optimizer.zero_grad()
        (-log_probs.sum() / tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        advance("sft", step + 1, training.sft_steps)
    model.bfloat16().float()  # what is saved is what DPO starts from


def _dpo(model: Any, tokenizer: Any, asks: Sequence[str], training: Training, advance: Advance) -> None:
    """Direct preference optimisation (Rafailov et al. 2023, equation 7) on the SFT model's own answers."""
    import torch
    from torch.nn.functional import logsigmoid

    better, worse = _preferences(model, tokenizer, asks, training)
    with torch.no_grad():
        reference = _margins(model, tokenizer, better, worse)
    optimizer = torch.optim.SGD(model.parameters(), lr=training.dpo_rate)
    for step in range(training.dpo_steps):
        part = slice(step * training.dpo_pairs, (step + 1) * training.dpo_pairs)
        margins = _margins(model, tokenizer, better[part], worse[part]) - reference[part]
        optimizer.zero_grad()
        (-logsigmoid(training.dpo_beta * margins)).mean().backward()
        optimizer.step()
        advance("dpo", step + 1, training.dpo_steps)


def _margins(model: Any, tokenizer: Any, better: Sequence[Pair], worse: Sequence[Pair]) -> Tensor:
    """log p(better) - log p(worse) for each pair, shape (pairs,), fp32."""
    return _log_probs(model, tokenizer, better)[0] - _log_probs(model, tokenizer, worse)[0]


def _preferences(
    model: Any, tokenizer: Any, asks: Sequence[str], training: Training
) -> tuple[list[Pair], list[Pair]]:
    """The best and the worst by the rule of several samples, for as many instructions as DPO needs."""
    chance = random.Random(training.seed + 2)
    chosen = chance.sample(list(asks), training.dpo_steps * training.dpo_pairs)
    asked = [ask for ask in chosen for _ in range(training.samples)]
    answers = _answers(model, tokenizer, asked, training, temperature=1.0)
    better, worse = [], []
    for at, ask in enumerate(chosen):
        own = answers[at * training.samples : (at + 1) * training.samples]
        ranked = sorted(own, key=lambda answer: rule.score(ask, answer))
        better.append((ask, ranked[-1]))
        worse.append((ask, ranked[0]))
    return better, worse


def _answers(
    model: Any, tokenizer: Any, asks: Sequence[str], training: Training, temperature: float = 0.7
) -> list[str]:
    """One sampled answer to each instruction, without special tokens."""
    prompts = tokenizer([_prompt(tokenizer, ask) for ask in asks], return_tensors="pt", padding=True)
    model.eval()
    tokens = model.generate(
        **prompts, do_sample=True, temperature=temperature, max_new_tokens=training.max_tokens
    )
    new = tokens[:, prompts["input_ids"].shape[1] :]
    return [str(text) for text in tokenizer.batch_decode(new, skip_special_tokens=True)]


def _log_probs(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> tuple[Tensor, int]:
    """log p(answer and end token | instruction), shape (pairs,), fp32; and the number of those tokens."""
    import torch

    prompts = [tokenizer.encode(_prompt(tokenizer, ask)) for ask, _ in pairs]
    answers = [tokenizer.encode(answer + EOS) for _, answer in pairs]
    longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    tokens_BT = torch.full((len(pairs), longest), tokenizer.pad_token_id)
    answer_BT = torch.zeros(len(pairs), longest, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        tokens_BT[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        answer_BT[row, len(prompt) : len(prompt) + len(answer)] = True
    logits_BTV = model(input_ids=tokens_BT[:, :-1], use_cache=False).logits.float()
    log_BT = logits_BTV.log_softmax(-1).gather(-1, tokens_BT[:, 1:, None])[..., 0]
    return (log_BT * answer_BT[:, 1:]).sum(-1), int(answer_BT.sum())


def _prompt(tokenizer: Any, instruction: str) -> str:
    conversation = [{"role": "user", "content": instruction}]
    return str(tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))


def _save(model: Any, tokenizer: Any, folder: Path, training: Training) -> None:
    import copy

    copy.deepcopy(model).bfloat16().save_pretrained(folder, max_shard_size=training.shard_bytes)
    tokenizer.save_pretrained(folder)
