"""The demo's promise, with the default training: the preference grows with α, then the model breaks."""

import copy
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.demo import rule
from tasks.demo.provider import find
from tasks.demo.student import Student


def win_rate(asks: list[str], answers: list[str], others: list[str]) -> float:
    wins = (rule.preference(ask, other, own) for ask, own, other in zip(asks, answers, others, strict=True))
    return sum(wins) / len(asks)


def extrapolated(aligned: Student, sft: Student, alpha: float) -> Student:
    model = copy.deepcopy(aligned.model)
    with torch.no_grad():
        for weight, start in zip(model.parameters(), sft.model.parameters(), strict=True):
            weight.add_(alpha * (weight - start))
    return Student(model=model, tokenizer=aligned.tokenizer)


@pytest.mark.slow
def test_the_preference_grows_with_alpha_then_the_model_breaks() -> None:
    """Sampled by transformers, so that this says nothing of vLLM and all of the training."""
    sft, aligned = (
        Student(AutoModelForCausalLM.from_pretrained(folder).float(), AutoTokenizer.from_pretrained(folder))
        for folder in (find("demo:sft"), find("demo:aligned"))
    )
    asks = [row["instruction"] for row in json.loads(find("demo:alphas").read_text())]
    torch.manual_seed(0)
    original = aligned.answers(asks, 64, 0.7)
    assert 0.6 < win_rate(asks, original, sft.answers(asks, 64, 0.7)) < 0.9, "DPO is partial"
    curve = [
        win_rate(asks, extrapolated(aligned, sft, alpha).answers(asks, 64, 0.7), original)
        for alpha in (0.5, 1, 2, 4, 32)
    ]
    *rising, collapsed = curve
    assert rising[0] > 0.53
    assert rising == sorted(rising)
    assert rising[-1] > 0.75
    assert collapsed < 0.1
