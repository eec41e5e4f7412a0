"""Real vLLM and a LoRA adapter: every α out of one engine, against fresh engines on the written adapters."""

from pathlib import Path

import pytest

from tasks.comparison.decoding import settings_of
from tasks.core.families import find_family
from tasks.generation.settings import Sampling
from tasks.search.answering import CandidateAnswers
from tasks.search.held_out import HeldOut
from tasks.stores.artefact import Artefact
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.weights.adapters import parents_of, save_adapter
from tests.zoo.engine_pair import QUESTIONS
from tests.zoo.write import write_zoo

pytestmark = pytest.mark.slow

FAMILY = "tulu-2-dpo-7b"  # a Llama
SHORT = {"sampling": Sampling(max_tokens=40), "tensor_parallel_size": 1, "batch_size": 4}
WRITTEN = (0.5, 3.0)


def test_one_engine_answers_at_every_scale_as_fresh_ones_do(tmp_path: Path) -> None:
    """Up, down and up again, between answers of the other α; the probe sees the adapter too."""
    entry = find_family(FAMILY)
    save_adapter(write_zoo(tmp_path, (FAMILY,))[entry.sft], tmp_path / "adapter", use_rslora=True)
    aligned, sft = parents_of(tmp_path / "adapter")
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.0, adapter="scale")
    prompts = HeldOut(choosing=QUESTIONS[:4], confirming=QUESTIONS)
    settings = settings_of(entry).model_copy(update=SHORT)
    said: list[str] = []
    with CandidateAnswers(
        tmp_path / "work", recipe, aligned, sft, settings, prompts,
        advance=lambda _: None, say=said.append,
    ) as answers:  # fmt: skip
        for count in (4, 8, len(QUESTIONS)):
            for alpha in (*WRITTEN, 0.0):
                answers.answers("confirming", alpha, count)
        probes = [answers.vitals("choosing", alpha, 4).log_probability for alpha in (0.0, *WRITTEN)]
        live = {alpha: answers.answers("confirming", alpha, len(QUESTIONS)) for alpha in (0.0, *WRITTEN)}
        assert not said and answers.engine.endswith("adapter at its scale")
        for alpha in WRITTEN:
            model = tmp_path / f"model-{alpha:g}"
            plan = make_plan(recipe.model_copy(update={"alpha": alpha}), aligned, sft)
            extrapolate(plan, aligned, sft, Artefact(str(model)))
            assert answers.of_files(model, alpha, len(QUESTIONS)) == live[alpha]
    assert live[0.0] != live[0.5] != live[3.0], "weights that change no answer would show nothing"
    assert len(set(probes)) == 3 and None not in probes
