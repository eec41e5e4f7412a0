"""vLLM on every architecture that its CPU build has: fresh engines, and one whose weights are replaced.

After a reload an engine answers as a fresh one on the written model, whatever was loaded before; where
it would not, its own check at the start says so, and a search falls back to files
(tests/search/test_answering.py). `python -m tests.zoo.reloads` prints what each architecture does.
"""

from pathlib import Path

import pytest

from tests.zoo.engine_pair import QUESTIONS, EnginePair, adapter_pair, architecture_pair, family_pair
from tests.zoo.reloads import STEPS, WRITTEN, answer_all, is_ready

pytestmark = pytest.mark.slow

# One family for each architecture and form of weights that the zoo of families has.
FAMILIES = ("zephyr-7b-beta", "tulu-2-dpo-7b", "internlm2-chat-1_8b", "llama3-8b-chinese-chat")
OTHERS = ("Qwen3, tied", "Gemma 2", "Falcon-H1", "Qwen3-MoE", "Qwen3-Next")
# vLLM 0.32 packs experts for the CPU as it loads them, and does not do so again after a reload.
REFUSED = ("Qwen3-MoE", "Qwen3-Next")
ADAPTER = "a LoRA adapter"


def test_answers_after_a_reload_equal_a_fresh_engines(tmp_path: Path) -> None:
    """At two α, up and then down; the engine's own check has to pass, or else to be right in refusing."""
    pairs = {name: family_pair(tmp_path / name, name) for name in FAMILIES}
    pairs |= {name: architecture_pair(tmp_path / name, name) for name in OTHERS}
    pairs[ADAPTER] = adapter_pair(tmp_path / ADAPTER, "Qwen3, tied")
    for pair in pairs.values():
        answer_all(pair)
    wrong = {name: error for name, pair in pairs.items() if (error := _error(name, pair))}
    assert not wrong


def _error(name: str, pair: EnginePair) -> str:
    """What is wrong with the answers of a pair; empty: nothing."""
    try:
        fresh = {alpha: pair.answers(f"fresh-{alpha:g}") for alpha in WRITTEN}
    except ValueError:
        return "a fresh engine did not answer: " + _end_of(pair.folder / f"fresh-{WRITTEN[0]:g}/engine.log")
    if any(len(answers) != len(QUESTIONS) for answers in fresh.values()):
        return "a fresh engine did not answer everything"
    if fresh[WRITTEN[0]] == fresh[WRITTEN[1]]:
        return "weights that change no answer would show nothing"
    if name == ADAPTER:
        return ""
    try:
        ready = is_ready(pair)
        live = [pair.answers(f"live-{number}") for number in range(len(STEPS))]
    except (OSError, ValueError):
        return "the live engine did not answer: " + _end_of(pair.folder / "live.log")
    equal = [answers == fresh[alpha] for answers, alpha in zip(live, STEPS[:-1], strict=False)]
    if name in REFUSED:
        return "its reloads are right now: take it out of REFUSED" if ready or all(equal) else ""
    return "" if ready and all(equal) else f"ready {ready}, equal to fresh engines' at {STEPS[:-1]}: {equal}"


def _end_of(log: Path) -> str:
    return log.read_text()[-3000:] if log.is_file() else "no log"
