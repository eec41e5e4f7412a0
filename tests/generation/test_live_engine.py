"""Real vLLM whose weights are replaced: the answers of a fresh engine, whatever was loaded before."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.comparison.decoding import settings_of
from tasks.core.errors import RetryableError
from tasks.core.families import find_family
from tasks.core.values import canonical_json
from tasks.generation.answer_journal import Answer, read_batches
from tasks.generation.live_orders import LiveOrder, Probe, ProbeTexts
from tasks.generation.live_session import LiveEngine, live_engine
from tasks.generation.process import generate
from tasks.generation.settings import GenerationJob, Sampling
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.zoo.write import write_zoo

pytestmark = pytest.mark.slow

# One family for each architecture and form of weights that the zoo has.
FAMILIES = ("zephyr-7b-beta", "tulu-2-dpo-7b", "internlm2-chat-1_8b", "llama3-8b-chinese-chat")
QUESTIONS = tuple(f"Question {number}: why is the sky that blue today?" for number in range(12))
UP, DOWN = (0.5, 3.0), (0.5,)
SAMPLING = Sampling(max_tokens=40)


class Pair:
    """A family's stand-in on disk, with a place for what is made of it."""

    def __init__(self, folder: Path, name: str) -> None:
        entry = find_family(name)
        folders = write_zoo(folder, (name,))
        self.folder = folder
        self.aligned, self.sft = FolderSource(folders[entry.aligned]), FolderSource(folders[entry.sft])
        self.prompts = folder / "prompts.json"
        self.prompts.write_text(json.dumps([{"instruction": text} for text in QUESTIONS]))
        self.settings = settings_of(entry).model_copy(
            update={"sampling": SAMPLING, "tensor_parallel_size": 1, "batch_size": 4}
        )

    def recipe(self, alpha: float) -> Recipe:
        return Recipe(aligned=self.aligned.checkpoint, sft=self.sft.checkpoint, alpha=alpha)

    def job(self, model: Path, output: str) -> GenerationJob:
        return GenerationJob(
            model=str(model),
            instructions=str(self.prompts),
            output=str(self.folder / output),
            settings=self.settings,
            generator="test",
            benchmark="alpaca_eval",
            form="instructions",
        )

    def order(self, alpha: float, folder: str, stop: int = len(QUESTIONS)) -> LiveOrder:
        (self.folder / folder).mkdir(exist_ok=True)
        return LiveOrder(
            recipe=self.recipe(alpha),
            fingerprint=f"α={alpha}",
            folder=str(self.folder / folder),
            prompts=str(self.prompts),
            stop=stop,
        )

    def answers(self, folder: str) -> list[Answer]:
        (batches,) = read_batches(self.folder / folder).values()
        return [answer for number in sorted(batches) for answer in batches[number].answers]

    def fresh(self, alphas: tuple[float, ...]) -> dict[float, list[Answer]]:
        """Answers of a fresh engine on the written model."""
        jobs = []
        for alpha in alphas:
            plan = make_plan(self.recipe(alpha), self.aligned, self.sft)
            model = self.folder / f"model-{alpha:g}"
            extrapolate(plan, self.aligned, self.sft, Artefact(str(model)))
            jobs.append(self.job(model, f"fresh-{alpha:g}"))
        generate(jobs, advance=lambda _: None)
        return {alpha: self.answers(f"fresh-{alpha:g}") for alpha in alphas}


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_after_a_reload_equal_a_fresh_engines(tmp_path: Path, name: str) -> None:
    """At two α, up and then down; the engine's own check at its start has to hold as well."""
    pair = Pair(tmp_path, name)
    fresh = pair.fresh(UP)
    assert fresh[UP[0]] != fresh[UP[1]], "weights that change no answer would show nothing"
    steps = [(alpha, f"live-{number}") for number, alpha in enumerate((*UP, *DOWN, 0.0))]
    job = pair.job(pair.aligned.folder(), "log")
    with live_engine(job, pair=pair.recipe(0), sft=pair.sft.folder(), advance=lambda _: None) as engine:
        for alpha, folder in steps:
            engine.obey(pair.order(alpha, folder))
    for alpha, folder in steps[:-1]:
        assert pair.answers(folder) == fresh[alpha]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"), "zephyr-7b-beta")


def _live(pair: Pair, use: Callable[[LiveEngine], None]) -> None:
    job = pair.job(pair.aligned.folder(), "log")
    with live_engine(job, pair=pair.recipe(0), sft=pair.sft.folder(), advance=lambda _: None) as engine:
        use(engine)


def test_a_killed_engine_costs_the_batch_in_flight(pair: Pair) -> None:
    """kill -9 after two of three batches; the next engine does the third, and rounds grow a journal."""

    def all_but_one(engine: LiveEngine) -> None:
        engine.obey(pair.order(0.7, "killed", stop=8))
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(RetryableError, match="signal 9"):
            engine.obey(pair.order(0.7, "killed"))

    _live(pair, all_but_one)
    before = (pair.folder / "killed" / "answers.jsonl").read_bytes()
    _live(pair, lambda engine: engine.obey(pair.order(0.7, "killed")))
    _live(pair, lambda engine: engine.obey(pair.order(0.7, "whole")))
    after = (pair.folder / "killed" / "answers.jsonl").read_bytes()
    assert after.startswith(before)
    assert pair.answers("killed") == pair.answers("whole")


def test_the_probe_measures_the_aligned_models_own_answers(pair: Pair) -> None:
    """Far along the update its own answers become unlikely to it; a finished probe needs no engine's work."""
    texts = pair.folder / "own.json"

    def probes(engine: LiveEngine) -> None:
        engine.obey(pair.order(0.0, "zero", stop=4))
        answers = tuple(answer.output for answer in pair.answers("zero"))
        texts.write_bytes(canonical_json(ProbeTexts(prompts=QUESTIONS[:4], answers=answers)))
        for alpha in (0.0, 0.2, 30.0):
            order = pair.order(alpha, f"probe-{alpha:g}", stop=0)
            probe = str(pair.folder / f"probe-{alpha:g}.json")
            engine.obey(order.model_copy(update={"own_answers": str(texts), "probe": probe}))

    _live(pair, probes)
    near, middle, far = (
        Probe.model_validate_json((pair.folder / f"probe-{alpha:g}.json").read_bytes())
        for alpha in (0.0, 0.2, 30.0)
    )
    assert near.log_probability is not None and near.log_probability < 0
    assert middle.log_probability is not None and middle.log_probability != near.log_probability
    assert far.damaged or (far.log_probability or 0) < near.log_probability
    assert near.nonfinite == 0
