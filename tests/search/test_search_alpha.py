"""The stage and the flow of a search, with an engine that answers by α and an objective that is known."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import ValidationError

from flows.search import expo_search
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.own_prompts import register
from tasks.core.errors import CorruptError, InputError, RetryableError
from tasks.generation.settings import GenerationSettings
from tasks.search.candidates import Grid, most_candidates
from tasks.search.found import alpha_of_search
from tasks.search.held_out import HeldOut, read_prompts
from tasks.search.objectives import ObjectiveConfig
from tasks.search.racing import RaceSettings
from tasks.search.result import SearchResult
from tasks.search.reward_model import RewardModel
from tasks.search.search_config import SearchConfig, most_answers
from tasks.search_alpha import estimate_search, search_alpha
from tasks.stores.artefact import Store
from tasks.weights.recipe import Recipe
from tests.search.engines import FakeVllm
from tests.waiting import wait_until
from tests.weights.checkpoints import pair

HERE = "tests.search.test_search_alpha"
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
        self._monkeypatch.setattr("tasks.search.answering.live_engine", vllm.live_engine)
        recipe = Recipe(aligned=self.aligned.checkpoint, sft=self.sft.checkpoint, alpha=0.0)
        settings, target = GenerationSettings(), str(self.folder / store)
        config = config or config_of(objective)
        return search_alpha.fn(recipe, str(self.prompts), (), settings, config, target)

    def search_in_a_flow(
        self, vllm: FakeVllm, store: str, config: SearchConfig | None = None, *, ask: bool = False
    ) -> SearchResult:
        self._monkeypatch.setattr("tasks.search.answering.live_engine", vllm.live_engine)
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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_a_search_finds_confirms_and_writes_its_alpha(place: Place) -> None:
    vllm = FakeVllm()
    result = place.search(vllm)
    assert result.alpha is not None and 0.3 < result.alpha < 1.1
    assert (
        result.confirmation is not None
        and result.confirmation.holds
        and result.confirmation.difference.n == 64
    )
    assert result.costs.answers == vllm.answered - 8 and result.engine.startswith(
        "fake 1.0, weights replaced"
    )
    store = Store(str(place.folder / "store"))
    assert alpha_of_search(store, place.aligned.checkpoint, place.sft.checkpoint) == result.alpha
    (written,) = store.names("models")
    manifest = store.artefact("models", written).manifest()
    assert manifest is not None and json.loads(manifest)["recipe"]["alpha"] == result.alpha
    (name,) = store.names("searches")
    page = store.artefact("searches", name).read("search.md")
    assert page is not None and f"α = {result.alpha:g}: " in page.decode()
    again = FakeVllm()
    assert place.search(again) == result and not again.started


def test_a_second_objective_is_reported_and_decides_nothing(place: Place) -> None:
    """By the second α = 0 is best."""
    plain = small_config(ObjectiveConfig(function=f"{HERE}:peak"))
    alone = place.search(FakeVllm(), store="alone", config=plain)
    second = plain.model_copy(update={"second": ObjectiveConfig(function=f"{HERE}:least")})
    found = place.search(FakeVllm(), config=second)
    assert found.alpha == alone.alpha is not None
    assert found.confirmation is not None and alone.confirmation is not None
    assert found.confirmation.difference == alone.confirmation.difference
    assert found.confirmation.second is not None and found.confirmation.second.mean < 0
    assert alone.confirmation.second is None


def test_a_search_has_one_judge_and_two_different_objectives() -> None:
    judge = ObjectiveConfig(judge=Judge(model="a"))
    with pytest.raises(ValidationError, match="the second objective is the first"):
        SearchConfig(objective=judge, second=judge)
    with pytest.raises(ValidationError, match="one judge a search"):
        SearchConfig(objective=judge, second=ObjectiveConfig(judge=Judge(model="b")))


def test_a_reward_model_leaves_the_engine_its_share_of_the_gpu() -> None:
    model = RewardModel(checkpoint="org/reward", gpu_memory_utilization=0.3)
    config = SearchConfig(objective=ObjectiveConfig(reward_model=model))
    assert config.settings(GenerationSettings()).gpu_memory_utilization == 0.65
    assert small_config(ObjectiveConfig(function="a:b")).settings(GenerationSettings()).batch_size == 16
    large = model.model_copy(update={"gpu_memory_utilization": 0.5})
    with pytest.raises(ValidationError, match="less than a fifth"):
        SearchConfig(
            objective=ObjectiveConfig(reward_model=model), second=ObjectiveConfig(reward_model=large)
        )


def test_a_served_judge_leaves_the_engine_its_share_of_the_gpu() -> None:
    serve = ServeConfig(checkpoint="org/judge", gpu_memory_utilization=0.45)
    served = ObjectiveConfig(judge=Judge(model="judge", serve=serve))
    config = SearchConfig(objective=served)
    assert config.settings(GenerationSettings()).gpu_memory_utilization == 0.5
    beside = ObjectiveConfig(reward_model=RewardModel(checkpoint="org/reward"))
    both = SearchConfig(objective=beside, second=served)
    assert both.settings(GenerationSettings()).gpu_memory_utilization == 0.2
    alone = ObjectiveConfig(judge=Judge(model="judge", serve=ServeConfig(checkpoint="org/judge")))
    with pytest.raises(ValidationError, match="the served judge leave the engine less than a fifth"):
        SearchConfig(objective=alone)


@pytest.mark.parametrize("by_module", [False, True])
def test_no_more_answers_are_made_than_the_estimate_says(by_module: bool) -> None:
    prompts = HeldOut(choosing=("a",) * 64, confirming=("b",) * 32)
    config = config_of("peak").model_copy(update={"by_module": by_module})
    racing = most_candidates(config.race.grid) + (18 if by_module else 0)
    assert most_answers(config, prompts) == racing * 64 + (3 if by_module else 2) * 32 + 8


def test_guards_are_opened_before_anything_is_served(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("no such guard")

    served: list[object] = []
    monkeypatch.setattr("tasks.search_alpha.open_guards", refuse)
    monkeypatch.setattr("tasks.search_alpha.open_objective", lambda *given: served.append(given))
    with pytest.raises(InputError, match="no such guard"):
        place.search(FakeVllm())
    assert not served


@pytest.mark.parametrize(("objective", "second"), [("peak_with_gaps", "least"), ("peak", "least_with_gaps")])
def test_too_few_scores_of_the_confirmation_are_refused(place: Place, objective: str, second: str) -> None:
    """As in the race: what an objective leaves out must not decide."""
    config = small_config(ObjectiveConfig(function=f"{HERE}:{objective}")).model_copy(
        update={"second": ObjectiveConfig(function=f"{HERE}:{second}"), "confirming": CONFIRMING}
    )
    with pytest.raises(InputError, match=f"{CONFIRMING - 4} scores for {CONFIRMING} answers at α = 0"):
        place.search(FakeVllm(), config=config)


def test_no_alpha_is_a_result_too(place: Place) -> None:
    result = place.search(FakeVllm(), "flat")
    assert result.alpha is None and result.reason == "not better than α = 0"
    store = Store(str(place.folder / "store"))
    assert not store.names("models")
    with pytest.raises(InputError, match="found no α"):
        alpha_of_search(store, place.aligned.checkpoint, place.sft.checkpoint)


@pytest.mark.parametrize("answers", [0, 40, 150, 300])
def test_a_search_that_was_killed_ends_in_the_same_result(place: Place, answers: int) -> None:
    """The engine dies for good at some answer; the next search makes only what is missing."""
    whole = FakeVllm()
    wanted = place.search(whole, store="undisturbed")
    dying = FakeVllm(die_after=answers)
    with pytest.raises(RetryableError, match="signal 9"):
        place.search(dying)
    rest = FakeVllm()
    found = place.search(rest)
    seconds = {"seconds": wanted.costs.seconds}
    assert found.model_copy(update={"costs": found.costs.model_copy(update=seconds)}) == wanted
    assert dying.answered + rest.answered == whole.answered


def test_prompts_of_an_evaluation_are_refused_before_an_engine_starts(place: Place) -> None:
    question = "What are the names of some famous actors that started their careers on Broadway?"
    place.prompts.write_text(place.prompts.read_text() + "\n" + json.dumps(question))
    vllm = FakeVllm()
    with pytest.raises(InputError, match=r"AlpacaEval 2\.0"):
        place.search(vllm)
    assert not vllm.started


def test_prompts_that_judge_the_result_cannot_choose_it(place: Place) -> None:
    """A run's own prompts, of which one is held out too."""
    shared = read_prompts(place.prompts)[0]
    file = place.folder / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": text}) for text in (shared, "Another one?")))
    name = register(file)
    with pytest.raises(InputError, match=f"1 of the prompts belong to {name}, which judges the result"):
        estimate_search(str(place.prompts), (name,), GenerationSettings(), config_of("flat"))


def test_files_that_answer_otherwise_are_no_result(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.search.engines._alpha_of", lambda _: 9.0)
    with pytest.raises(CorruptError, match="its files do not answer as"):
        place.search(FakeVllm())
    assert not Store(str(place.folder / "store")).names("searches")


def test_a_pair_or_a_family_is_needed(place: Place) -> None:
    with pytest.raises(InputError, match="give a family, or both"):
        expo_search.fn(config_of("flat"), aligned=str(place.aligned.folder()))


def test_without_prompts_ultrafeedbacks_are_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", "tests.search.test_search_alpha:flat")
    aligned, sft = str(place.aligned.folder()), str(place.sft.folder())
    asked: list[str] = []
    monkeypatch.setattr("flows.search.search_alpha", lambda _recipe, prompts, *_: asked.append(prompts))
    monkeypatch.setattr("flows.search.resolve", lambda *_: ("recipe",))
    expo_search.fn(config_of("flat"), aligned=aligned, sft=sft)
    assert asked == ["ultrafeedback"]


@pytest.mark.slow
def test_a_search_in_a_flow_shows_its_rounds(
    place: Place, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", "tests.search.test_search_alpha:peak")
    before = {artifact.id for artifact in _artifacts()}
    result = place.search_in_a_flow(FakeVllm(), "of-the-flow")
    rounds = {f"round of {count} prompts" for count in result.rounds}
    with get_client(sync_client=True) as client:
        # records of task runs arrive after the flow run's end
        latest = TaskRunSort.EXPECTED_START_TIME_DESC
        wait_until(
            lambda: rounds <= {run.name for run in client.read_task_runs(sort=latest)},
            "task runs of the rounds",
        )
    made = [artifact for artifact in _artifacts() if artifact.id not in before]
    tables = [str(artifact.data) for artifact in made if artifact.key == "expo-search-race"]
    assert len(tables) == len(result.rounds)
    assert any("tied with the best" in table for table in tables)


@pytest.mark.slow
@pytest.mark.parametrize("go_on", [True, False])
@pytest.mark.usefixtures("prefect")
def test_a_search_waits_for_a_person_before_a_judge_is_paid(place: Place, go_on: bool) -> None:
    """The form has the estimate; who says no has spent nothing."""
    vllm = FakeVllm()
    judged = small_config(ObjectiveConfig(judge=Judge(model="demo-rule", base_url="demo:rule")))
    with ThreadPoolExecutor(1) as person:
        answer = person.submit(copy_context().run, _answer_form, go_on)
        if go_on:
            assert place.search_in_a_flow(vllm, "asked", judged, ask=True).costs.judge_requests > 0
        else:
            with pytest.raises(InputError, match="not approved"):
                place.search_in_a_flow(vllm, "asked", judged, ask=True)
        assert "demo-rule will judge at most" in answer.result()
    assert bool(vllm.answered) == go_on


def _answer_form(go_on: bool) -> str:
    """Waits until a run is paused with its form, and answers it; what the form says."""
    with get_client(sync_client=True) as client:
        wait_until(lambda: list(_forms(client)), "a paused run with its form")
        run, description = next(_forms(client))
        client.resume_flow_run(run, run_input={"go_on": go_on})
        return description


def _forms(client: SyncPrefectClient) -> Iterator[tuple[UUID, str]]:
    for run in client.read_flow_runs():
        if run.state and run.state.is_paused() and (keys := run.state.state_details.run_input_keyset):
            with suppress(PrefectHTTPStatusError):  # it is written after the state
                yield run.id, str(client.read_flow_run_input(run.id, keys["description"]))


def _artifacts() -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
