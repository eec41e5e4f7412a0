"""The flow of a search: its parameters, its rounds in the UI, and the form before a judge is paid."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort
from prefect.exceptions import PrefectHTTPStatusError

from flows.search import expo_search
from tasks.benchmarks.judge_config import Judge
from tasks.core.errors import InputError
from tasks.search.held_out import read_prompts, split
from tasks.search.objectives import ObjectiveConfig
from tasks.search.search_config import most_judgments
from tasks.weights.recipe import Recipe
from tests.search.engines import FakeVllm
from tests.search.places import HERE, Place, config_of, small_config
from tests.waiting import wait_until

NOBODY = "http://127.0.0.1:9/v1"  # where no judge answers


def test_a_pair_or_a_family_is_needed(place: Place) -> None:
    with pytest.raises(InputError, match="give a family, or both"):
        expo_search.fn(config_of("flat"), aligned=str(place.aligned.folder()))


def test_without_prompts_ultrafeedbacks_are_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", f"{HERE}:flat")
    aligned, sft = str(place.aligned.folder()), str(place.sft.folder())
    asked: list[str] = []
    monkeypatch.setattr("flows.search.search_alpha", lambda _recipe, prompts, *_: asked.append(prompts))
    monkeypatch.setattr("flows.search.resolve", lambda *_, **__: ("recipe",))
    expo_search.fn(config_of("flat"), aligned=aligned, sft=sft)
    assert asked == ["ultrafeedback"]


def test_the_estimate_comes_before_anything_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is resolved, and no engine is asked, before a person has agreed to what it costs."""

    def refuse(estimate: str) -> None:
        asked.append(estimate)
        raise InputError("not approved")

    def begin(*_: object, **__: object) -> None:
        pytest.fail("the search began")

    asked: list[str] = []
    monkeypatch.setattr("flows.search.require_approval", refuse)
    monkeypatch.setattr("flows.search.resolve", begin)
    monkeypatch.setattr("flows.search.search_alpha", begin)
    priced = Judge(model="some-judge", base_url=NOBODY, dollars_per_million=(1000, 0))
    config, aligned, sft = small_config(ObjectiveConfig(judge=priced)), "nobody/nothing", "nobody/nothing-sft"
    prompts, store = str(place.prompts), str(place.folder / "store")

    def search(max_tokens: int, ask: bool) -> None:
        expo_search.fn(config, None, aligned, sft, prompts, max_tokens, store, ask)

    for max_tokens in (100, 200):
        with pytest.raises(InputError, match="not approved"):
            search(max_tokens, ask=True)
    short, long = asked
    most = most_judgments(config, split(read_prompts(place.prompts), {}, choosing=32, confirming=32))
    assert f"some-judge will judge at most: {most:,} requests, about " in short
    assert _dollars(short) < _dollars(long), "both have as many requests, of longer answers"
    monkeypatch.setattr("flows.search.require_approval", begin)
    with pytest.raises(pytest.fail.Exception, match="the search began"):
        search(100, ask=False)


def test_a_whole_checkpoint_is_nothing_to_merge(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Recipe(aligned=place.aligned.checkpoint, sft=place.sft.checkpoint, alpha=0.0)
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", f"{HERE}:flat")
    monkeypatch.setattr("flows.search.resolve", lambda *_, **__: (whole,))
    config = config_of("flat").model_copy(update={"merge": True})
    with pytest.raises(InputError, match="no adapter to merge; leave merge out"):
        expo_search.fn(config, None, "nobody/nothing", "nobody/nothing-sft", str(place.prompts), None, None)


@pytest.mark.slow
def test_a_search_in_a_flow_shows_its_rounds(
    place: Place, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", f"{HERE}:peak")
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


def _dollars(estimate: str) -> float:
    return float(estimate.partition("about $")[2].split()[0])


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
