"""A search over a LoRA adapter's scale: what is served, what is written, and when it is merged instead."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.errors import InputError, RetryableError
from tasks.generation.live_session import UnfitError
from tasks.generation.settings import GenerationSettings
from tasks.search.adapter_candidates import served_base
from tasks.search.answering import CandidateAnswers
from tasks.search.found import alpha_of_search
from tasks.search.held_out import HeldOut
from tasks.search.objectives import ObjectiveConfig
from tasks.search.result import SearchResult
from tasks.search_alpha import search_alpha
from tasks.stores.artefact import Store
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import AdapterMode, Recipe
from tests.search.engines import FakeVllm
from tests.search.places import HERE, small_config
from tests.weights.adapters import parents_of, save_adapter
from tests.weights.models import save_llama

PROMPTS = HeldOut(
    choosing=tuple(f"choose {number}" for number in range(20)),
    confirming=tuple(f"confirm {number}" for number in range(10)),
)
ATTENTION, ALSO_MLP = ["q_proj", "v_proj"], ["q_proj", "down_proj"]


class AdapterPlace:
    """An adapter on a tiny Llama, with its searches."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        save_llama(folder / "sft", 1)
        self.train(ATTENTION)
        self.said: list[str] = []
        monkeypatch.setattr("tasks.search_alpha.engine_name", lambda: "fake 1.0")
        monkeypatch.setattr("tasks.stats.paired.RESAMPLES", 500)

    def train(self, modules: list[str]) -> None:
        """Makes the adapter one of these modules."""
        save_adapter(self.folder / "sft", self.folder / "adapter", target_modules=modules)
        self.aligned, self.sft = parents_of(self.folder / "adapter")

    def recipe(self, mode: AdapterMode = "scale") -> Recipe:
        return Recipe(aligned=self.aligned.checkpoint, sft=self.sft.checkpoint, alpha=0.0, adapter=mode)

    @contextmanager
    def open(self, vllm: FakeVllm, mode: AdapterMode = "scale") -> Iterator[CandidateAnswers]:
        self._monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
        settings = GenerationSettings(batch_size=8)
        with CandidateAnswers(
            self.folder / "work", self.recipe(mode), self.aligned, self.sft, settings, PROMPTS,
            advance=lambda _: None, say=self.said.append,
        ) as answers:  # fmt: skip
            yield answers

    def search(self, vllm: FakeVllm, **changes: object) -> SearchResult:
        self._monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
        prompts = self.folder / "prompts.jsonl"
        rows = [json.dumps({"prompt": f"Say something about number {number}."}) for number in range(128)]
        prompts.write_text("\n".join(rows))
        config = small_config(ObjectiveConfig(function=f"{HERE}:peak")).model_copy(update=changes)
        store = str(self.folder / "store")
        return search_alpha.fn(self.recipe(), str(prompts), (), GenerationSettings(), config, store)

    def written(self) -> list[Recipe]:
        """The recipes of the store's models."""
        store = Store(str(self.folder / "store"))
        manifests = [store.artefact("models", name).manifest() for name in store.names("models")]
        return [read_manifest(manifest).recipe for manifest in manifests if manifest]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterPlace:
    return AdapterPlace(tmp_path, monkeypatch)


def test_every_alpha_is_the_adapter_at_its_scale_in_one_engine(place: AdapterPlace) -> None:
    vllm = FakeVllm()
    with place.open(vllm) as answers:
        first = answers.answers("choosing", 0.5, 8)
        answers.answers("choosing", 0.0, 8)
        assert answers.answers("choosing", 0.5, 20)[:8] == first
        answers.vitals("choosing", 2.0, 8)
        assert answers.engine == "fake 1.0, adapter at its scale"
    assert first[0].output.startswith("0.5: choose 0")
    assert vllm.started == [str(place.sft.folder())] and vllm.serving == [place.aligned.folder()]
    assert {alpha for alpha, _ in vllm.orders} == {0.0, 0.5, 2.0}
    folders = list((place.folder / "work" / "adapters").iterdir())
    scales = {json.loads((folder / "adapter_config.json").read_text())["lora_alpha"] for folder in folders}
    assert scales == {12.0, 24.0}, "8 at 1.5 and at 3 times; α = 0 is the adapter's own folder"
    assert not (place.folder / "work" / "merged").exists()


def test_an_adapter_that_is_not_served_is_merged_and_stays_so(place: AdapterPlace) -> None:
    vllm = FakeVllm(unserved=True)
    with place.open(vllm) as answers:
        answers.vitals("choosing", 0.5, 8)
        assert answers.engine == "fake 1.0, weights replaced in place" and answers.adapter == "merge"
    assert place.said == ["no place for o_proj. The adapter is merged into the SFT model for each α"]
    assert vllm.started == [str(place.folder / "work" / "merged")] and not vllm.serving
    later = FakeVllm()
    with place.open(later) as answers:
        answers.vitals("choosing", 0.5, 8)
        assert answers.adapter == "merge", "as before the search was interrupted"
    assert not later.started


def test_an_adapter_that_was_served_is_not_merged_later(place: AdapterPlace) -> None:
    """What was measured at its scale would stand beside answers of a merged model."""
    with place.open(FakeVllm()) as answers:
        answers.vitals("choosing", 0.5, 8)
    with place.open(FakeVllm(unserved=True)) as answers, pytest.raises(UnfitError):
        answers.vitals("choosing", 1.0, 8)
    assert not place.said


def test_no_answer_of_a_merge_is_taken_for_the_scales(place: AdapterPlace) -> None:
    with place.open(FakeVllm(), "merge") as answers:
        answers.answers("choosing", 0.5, 8)
    vllm = FakeVllm()
    with place.open(vllm) as answers:
        answers.answers("choosing", 0.5, 8)
    assert vllm.answered == 8


def test_a_killed_engine_costs_the_batch_in_flight(place: AdapterPlace) -> None:
    with place.open(FakeVllm(die_after=16)) as answers, pytest.raises(RetryableError):
        answers.answers("choosing", 0.5, 20)
    vllm = FakeVllm()
    with place.open(vllm) as answers:
        assert len(answers.answers("choosing", 0.5, 20)) == 20
    assert vllm.answered == 4


def test_the_choice_is_written_as_an_adapter_and_answers_from_its_files(place: AdapterPlace) -> None:
    vllm = FakeVllm()
    result = place.search(vllm)
    assert result.alpha is not None and result.engine == "fake 1.0, adapter at its scale"
    (written,) = place.written()
    assert (written.alpha, written.adapter) == (result.alpha, "scale")
    assert len(vllm.started) == 2 and vllm.serving[0] == place.aligned.folder() != vllm.serving[1]
    store = Store(str(place.folder / "store"))
    assert alpha_of_search(store, place.aligned.checkpoint, place.sft.checkpoint) == result.alpha
    again = FakeVllm()
    assert place.search(again) == result and not again.started


def test_the_choice_of_a_merged_adapter_is_written_merged(place: AdapterPlace) -> None:
    result = place.search(FakeVllm(unserved=True))
    assert result.alpha is not None and result.engine == "fake 1.0, weights replaced in place"
    (written,) = place.written()
    assert (written.alpha, written.adapter) == (result.alpha, "merge")


@pytest.mark.parametrize("unserved", [False, True])
def test_steps_over_modules_are_of_those_that_the_adapter_changes(
    place: AdapterPlace, unserved: bool
) -> None:
    place.train(ALSO_MLP)
    found = place.search(FakeVllm(unserved=unserved), by_module=True)
    assert found.by_module is not None and [*found.by_module.multiples] == ["attention", "mlp"]
    paths = place.folder.glob("store/**/adapters/*/adapter_config.json")
    scales = [json.loads(path.read_text())["alpha_pattern"] for path in paths]
    assert any(scales) != unserved, "of modules, where adapters are served"


def test_steps_over_the_only_module_that_an_adapter_changes_are_refused(place: AdapterPlace) -> None:
    vllm = FakeVllm()
    with pytest.raises(InputError, match="by_module: the update is of attention alone"):
        place.search(vllm, by_module=True)
    assert not vllm.started


def test_a_preset_gives_each_module_its_scale(place: AdapterPlace) -> None:
    """Of what the adapter changes, which is attention: at half of the scale that is searched for."""
    found = place.search(FakeVllm(), preset="fusionbench")
    assert found.alpha is not None and found.preset == "fusionbench"
    (written,) = place.written()
    assert [(part.pattern, part.alpha) for part in written.module_alphas] == [("attention", found.alpha / 2)]


def test_the_base_model_asks_with_the_adapters_tokenizer(place: AdapterPlace) -> None:
    """As a merged model does; without one the SFT model is served from its own folder."""
    sft, adapter = place.sft.folder(), place.aligned.folder()
    assert served_base(place.folder / "work", place.aligned, place.sft) == sft
    for folder, text in ((sft, "of the base"), (adapter, "of the adapter")):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_text(text)
    (sft / "vocab.json").write_text("of the base")
    aligned, base = parents_of(adapter, sft)
    for _ in range(2):
        served = served_base(place.folder / "work", aligned, base)
    assert served == place.folder / "work" / "base" and not (served / "vocab.json").exists()
    assert (served / "tokenizer.json").read_text() == "of the adapter"
    assert (served / "config.json").read_bytes() == (sft / "config.json").read_bytes()
    shards = {path.name for path in sft.glob("*.safetensors*")}
    assert shards and shards == {path.name for path in served.glob("*.safetensors*")}
