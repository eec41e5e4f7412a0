"""Answers from journals and engines: what is missing is made, once, whatever was killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.errors import RetryableError
from tasks.generation.settings import GenerationSettings
from tasks.search.answering import CandidateAnswers
from tasks.search.held_out import HeldOut
from tasks.weights.adapter_base import open_parents
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import Recipe
from tests.search.engines import FakeVllm
from tests.weights.adapters import save_adapter
from tests.weights.checkpoints import pair
from tests.weights.models import save_llama

PROMPTS = HeldOut(
    choosing=tuple(f"choose {number}" for number in range(20)),
    confirming=tuple(f"confirm {number}" for number in range(10)),
)
SETTINGS = GenerationSettings(batch_size=8)


class Search:
    """A pair's search folder, opened again and again."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        self.recipe, self.aligned, self.sft = pair(folder)
        self.said: list[str] = []

    @contextmanager
    def open(self, vllm: FakeVllm, settings: GenerationSettings = SETTINGS) -> Iterator[CandidateAnswers]:
        self._monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
        with CandidateAnswers(
            self.folder / "work", self.recipe, self.aligned, self.sft, settings, PROMPTS,
            advance=lambda _: None, say=self.said.append,
        ) as answers:  # fmt: skip
            yield answers


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    return Search(tmp_path, monkeypatch)


def test_one_engine_answers_for_every_alpha_and_makes_nothing_twice(search: Search) -> None:
    vllm = FakeVllm()
    with search.open(vllm) as answers:
        first = answers.answers("choosing", 0.5, 8)
        assert [answer.output for answer in first[:2]] == ["0.5: choose 0 (42)", "0.5: choose 1 (43)"]
        assert answers.answers("choosing", 0.5, 20)[:8] == first
        assert answers.answers("choosing", 0.5, 4) == first[:4]
        answers.answers("confirming", 2.0, 10)
        assert vllm.orders == [(0.5, 8), (0.5, 20), (2.0, 10)] and vllm.answered == 30
        assert answers.totals()[0] == 30
    assert vllm.started == [str(search.aligned.folder())]


def test_a_search_whose_answers_are_all_there_starts_no_engine(search: Search) -> None:
    with search.open(FakeVllm()) as answers:
        before = answers.vitals("choosing", 0.5, 20)
    vllm = FakeVllm()
    with search.open(vllm) as answers:
        assert answers.vitals("choosing", 0.5, 20) == before
        assert answers.engine == "fake 1.0, weights replaced in place"
    assert not vllm.started


def test_a_killed_engine_costs_the_batch_in_flight(search: Search) -> None:
    with search.open(FakeVllm(die_after=16)) as answers, pytest.raises(RetryableError):
        answers.answers("choosing", 0.5, 20)
    vllm = FakeVllm()
    with search.open(vllm) as answers:
        assert len(answers.answers("choosing", 0.5, 20)) == 20
    assert vllm.answered == 4


def test_other_settings_use_no_answer_of_these(search: Search) -> None:
    with search.open(FakeVllm()) as answers:
        answers.answers("choosing", 0.5, 8)
    vllm = FakeVllm()
    with search.open(vllm, SETTINGS.model_copy(update={"dtype": "float32"})) as answers:
        answers.answers("choosing", 0.5, 8)
    assert vllm.answered == 8


def test_where_weights_cannot_be_replaced_each_alpha_is_served_from_files(search: Search) -> None:
    vllm = FakeVllm(unfit=True)
    with search.open(vllm) as answers:
        answers.answers("choosing", 0.5, 8)
        answers.answers("choosing", 0.5, 20)
        answers.answers("choosing", 0.0, 8)
        assert answers.engine == "fake 1.0, one engine for each α"
    assert vllm.started == [str(search.folder / "work" / "model"), str(search.aligned.folder())]
    assert vllm.orders == [(None, 8), (None, 20), (None, 8)]
    (said,) = search.said
    assert said == "no new weights. Each α is written to files and served by an engine of its own"
    later = FakeVllm()
    with search.open(later) as answers:
        answers.answers("choosing", 0.5, 20)
        assert answers.engine == "fake 1.0, one engine for each α", "as before the search was interrupted"
    assert not later.started


def test_a_model_over_several_gpus_takes_new_weights(search: Search) -> None:
    vllm = FakeVllm()
    with search.open(vllm, SETTINGS.model_copy(update={"tensor_parallel_size": 2})) as answers:
        answers.answers("choosing", 0.5, 8)
    assert vllm.orders == [(0.5, 8)] and vllm.started == [str(search.aligned.folder())]


def test_a_model_over_several_nodes_is_served_from_files(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    vllm = FakeVllm()
    with search.open(vllm, SETTINGS.model_copy(update={"pipeline_parallel_size": 2})) as answers:
        answers.answers("choosing", 0.5, 8)
    assert vllm.orders == [(None, 8)] and vllm.started == [str(search.folder / "work" / "model")]


def test_an_adapter_is_merged_once_and_streamed_from_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine loads the merged θ(0), and gets the adapter's own folder to compute θ(α) from."""
    save_llama(tmp_path / "sft", 1)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    aligned, sft = open_parents(str(tmp_path / "adapter"), str(tmp_path / "sft"))
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.0, adapter="merge")
    vllm = FakeVllm()
    monkeypatch.setattr("tasks.search.candidate_engine.live_engine", vllm.live_engine)
    for count in (8, 20):
        with CandidateAnswers(
            tmp_path / "work", recipe, aligned, sft, SETTINGS, PROMPTS,
            advance=lambda _: None, say=lambda _: None,
        ) as answers:  # fmt: skip
            answers.answers("choosing", 0.5, count)
    merged = tmp_path / "work" / "merged"
    assert vllm.started == [str(merged)] * 2 and vllm.merging == [aligned.folder()] * 2
    found = read_manifest((merged / "manifest.json").read_bytes()).recipe
    assert (found.alpha, found.adapter) == (0.0, "merge")


def test_vitals_count_what_the_answers_are(search: Search) -> None:
    with search.open(FakeVllm()) as answers:
        vitals = answers.vitals("choosing", 0.5, 20)
        assert vitals.prompts == 20 and vitals.unended == 0 and vitals.nonfinite == 0
        assert vitals.log_probability == pytest.approx(-0.55)
        mean = sum(len(answer.output) for answer in answers.answers("choosing", 0.5, 20)) / 20
        assert vitals.mean_characters == pytest.approx(mean)


def test_files_are_asked_by_an_engine_of_their_own(search: Search) -> None:
    vllm = FakeVllm()
    with search.open(vllm) as answers:
        answers.answers("confirming", 0.5, 8)
        found = answers.of_files(search.aligned.folder(), 0.5, 4)
        assert len(found) == 4
        answers.answers("confirming", 0.5, 10)
    assert vllm.orders == [(0.5, 8), (None, 4), (0.5, 10)] and len(vllm.started) == 3
