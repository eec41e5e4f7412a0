"""A pair, prompts and a store to search in, and Python functions as objectives that are known."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.search import expo_search
from tasks.generation.settings import GenerationSettings
from tasks.search.candidates import Grid
from tasks.search.objectives import ObjectiveConfig
from tasks.search.racing import RaceSettings
from tasks.search.result import SearchResult
from tasks.search.search_config import SearchConfig
from tasks.search_alpha import search_alpha
from tasks.weights.recipe import Recipe
from tests.search.engines import FakeVllm
from tests.weights.checkpoints import pair

HERE = "tests.search.places"
CONFIRMING = 40  # prompts; no round of a race is as long


def peak(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Best at α = 0.6; the answer begins with its α, and its text is the noise."""
    scores = []
    for prompt, answer in zip(prompts, answers, strict=True):
        alpha = float(answer.partition(":")[0])
        scores.append(math.exp(-((math.log(max(alpha, 0.01) / 0.6)) ** 2)) + noise(prompt, answer))
    return scores


def noise(prompt: str, answer: str) -> float:
    """Between −0.5 and 0.5, the same for the same answer."""
    return int(hashlib.sha256(f"{prompt}{answer}".encode()).hexdigest()[:4], 16) / 0xFFFF - 0.5


def least(_prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """The smaller α the better."""
    return [-float(answer.partition(":")[0]) for answer in answers]


def peak_with_gaps(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """As `peak`, but for a tenth of the confirmation, which has no scores."""
    return _with_gaps(peak(prompts, answers))


def least_with_gaps(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """As `least`, but for a tenth of the confirmation, which has no scores."""
    return _with_gaps(least(prompts, answers))


def _with_gaps(scores: list[float]) -> list[float]:
    return [math.nan] * 4 + scores[4:] if len(scores) == CONFIRMING else scores


def flat(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """No α matters."""
    return [float(len(prompt)) for prompt, _ in zip(prompts, answers, strict=True)]


class Place:
    """A pair, a file of prompts and a store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        _, self.aligned, self.sft = pair(folder)
        self.prompts = folder / "prompts.jsonl"
        rows = [json.dumps({"prompt": f"Say something about number {number}."}) for number in range(128)]
        self.prompts.write_text("\n".join(rows))
        monkeypatch.setattr("tasks.search_alpha.engine_name", lambda: "fake 1.0")

    def search(
        self,
        vllm: FakeVllm,
        objective: str = "peak",
        store: str = "store",
        config: SearchConfig | None = None,
    ) -> SearchResult:
        self._monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
        recipe = Recipe(aligned=self.aligned.checkpoint, sft=self.sft.checkpoint, alpha=0.0)
        settings, target = GenerationSettings(), str(self.folder / store)
        config = config or config_of(objective)
        return search_alpha.fn(recipe, str(self.prompts), (), settings, config, target)

    def search_in_a_flow(
        self, vllm: FakeVllm, store: str, config: SearchConfig | None = None, *, ask: bool = False
    ) -> SearchResult:
        self._monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
        result: SearchResult = expo_search(
            config or config_of("peak"),
            aligned=str(self.aligned.folder()),
            sft=str(self.sft.folder()),
            prompts=str(self.prompts),
            store=str(self.folder / store),
            ask_before_judging=ask,
        )
        return result


def config_of(objective: str) -> SearchConfig:
    return SearchConfig(
        objective=ObjectiveConfig(function=f"{HERE}:{objective}"),
        race=RaceSettings(first_round=16, grid=Grid(count=4)),
    )


def small_config(objective: ObjectiveConfig) -> SearchConfig:
    """Two rounds of few candidates, and few prompts to confirm on."""
    grid = Grid(lowest=0.3, highest=1.2, count=2, limit=1.2)
    return SearchConfig(
        objective=objective, race=RaceSettings(first_round=16, grid=grid), choosing=32, confirming=32
    )
