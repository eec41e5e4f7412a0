"""Trains the demo's pair of checkpoints: SFT on short notes, then a little of DPO.

DPO stops early on purpose. The paper's method needs an aligned checkpoint that has moved the
right way and not yet far enough; extrapolation goes on where training stopped. Plain SGD keeps
the difference of the checkpoints a sum of gradients of the preference (Adam's first steps are
mostly signs, and extrapolate badly).

All randomness comes from one seed and arithmetic runs on one thread: the same machine gives the
same bytes, and a busy machine does not slow it down much (two OpenMP threads on a busy machine
wait for each other, ten times longer). torch is imported in the functions, so that importing
this module is cheap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.values import Value
from tasks.demo import notes, rule
from tasks.demo.student import Pair, Shape, Student, new_student

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Advance", "Trained", "Training", "train"]

Advance = Callable[[str, int, int], None]  # (what, how many are done, how many there are)
SAMPLED_AT_ONCE = 160


class Training(Value):
    """Everything that decides the two checkpoints and the instructions.

    samples      answers to each instruction, of which DPO gets the best and the worst
    max_tokens   of an answer
    shard_bytes  the largest file of weights
    """

    seed: int = 1
    shape: Shape = Shape()
    evaluation_instructions: int = 400
    alpha_instructions: int = 200
    sft_steps: int = 240
    sft_batch: int = 48
    sft_rate: float = 3e-3
    dpo_steps: int = 10
    dpo_batch: int = 32
    dpo_rate: float = 0.04
    dpo_beta: float = 0.1
    samples: int = 4
    max_tokens: int = 64
    shard_bytes: int = 400_000


class Trained(Value):
    """The held-out instructions with the SFT model's own answers."""

    evaluation: tuple[Pair, ...]
    alphas: tuple[Pair, ...]


def train(folder: Path, training: Training, advance: Advance) -> Trained:
    """Trains both checkpoints into `folder`/sft and `folder`/aligned (bfloat16, several shards)."""
    splits = notes.splits(training.evaluation_instructions, training.alpha_instructions, training.seed)
    with _repeatable(training.seed):
        student = new_student(splits.train, training.shape, training.seed)
        _sft(student, splits.train, training, advance)
        student.save(folder / "sft", training.shard_bytes)
        asks = splits.evaluation + splits.alphas
        pairs = tuple(zip(asks, _answers(student, asks, 0.7, training, advance), strict=True))
        _dpo(student, splits.train, training, advance)
        student.save(folder / "aligned", training.shard_bytes)
    return Trained(evaluation=pairs[: len(splits.evaluation)], alphas=pairs[len(splits.evaluation) :])


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """One seed and one thread; torch's generator and thread count are put back."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _sft(student: Student, asks: Sequence[str], training: Training, advance: Advance) -> None:
    """Next-token loss on the notes alone, with AdamW and one cycle of the learning rate."""
    import torch

    weights = list(student.model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=training.sft_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.sft_rate, training.sft_steps, pct_start=0.1
    )
    chance = random.Random(training.seed + 1)
    for step in range(training.sft_steps):
        batch = chance.choices(asks, k=training.sft_batch)
        log_probs, tokens = student.log_probs([(ask, notes.note(ask, chance)) for ask in batch])
        optimizer.zero_grad()
        torch.autograd.backward(-log_probs.sum() / tokens)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        rate.step()
        advance("sft", step + 1, training.sft_steps)
    student.round_to_bfloat16()


def _dpo(student: Student, asks: Sequence[str], training: Training, advance: Advance) -> None:
    """Direct preference optimisation (Rafailov et al. 2023, equation 7) on the student's own answers."""
    import torch
    from torch.nn.functional import logsigmoid

    better, worse = _preferences(student, asks, training, advance)
    with torch.no_grad():
        reference = _margins(student, better, worse)
    optimizer = torch.optim.SGD(student.model.parameters(), lr=training.dpo_rate)
    for step in range(training.dpo_steps):
        batch = slice(step * training.dpo_batch, (step + 1) * training.dpo_batch)
        margins = _margins(student, better[batch], worse[batch]) - reference[batch]
        optimizer.zero_grad()
        torch.autograd.backward(-logsigmoid(training.dpo_beta * margins).mean())
        optimizer.step()
        advance("dpo", step + 1, training.dpo_steps)


def _margins(student: Student, better: Sequence[Pair], worse: Sequence[Pair]) -> Tensor:
    """log p(better) - log p(worse), shape (pairs,), fp32."""
    return student.log_probs(better)[0] - student.log_probs(worse)[0]


def _preferences(
    student: Student, asks: Sequence[str], training: Training, advance: Advance
) -> tuple[list[Pair], list[Pair]]:
    """The best and the worst, by the rule, of several sampled answers to each instruction."""
    chosen = random.Random(training.seed + 2).sample(list(asks), training.dpo_steps * training.dpo_batch)
    repeated = [ask for ask in chosen for _ in range(training.samples)]
    answers = _answers(student, repeated, 1.0, training, advance)
    better, worse = [], []
    for index, ask in enumerate(chosen):
        own = answers[index * training.samples : (index + 1) * training.samples]
        ranked = sorted(own, key=lambda answer: rule.score(ask, answer))
        better.append((ask, ranked[-1]))
        worse.append((ask, ranked[0]))
    return better, worse


def _answers(
    student: Student, asks: Sequence[str], temperature: float, training: Training, advance: Advance
) -> list[str]:
    answers: list[str] = []
    while len(answers) < len(asks):
        batch = asks[len(answers) : len(answers) + SAMPLED_AT_ONCE]
        answers += student.answers(batch, training.max_tokens, temperature)
        advance("answers", len(answers), len(asks))
    return answers
