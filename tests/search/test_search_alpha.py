"""The stage and the flow of a search, with an engine that answers by α and an objective that is known."""

import json

import pytest
from pydantic import ValidationError

from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.own_prompts import register
from tasks.core.errors import CorruptError, InputError, RetryableError
from tasks.generation.settings import GenerationSettings
from tasks.search.candidates import most_candidates
from tasks.search.found import alpha_of_search
from tasks.search.held_out import HeldOut, read_prompts
from tasks.search.objectives import ObjectiveConfig
from tasks.search.reward_model import RewardModel
from tasks.search.search_config import SearchConfig, most_answers
from tasks.search_alpha import estimate_search
from tasks.stores.artefact import Store
from tests.search.engines import FakeVllm
from tests.search.places import CONFIRMING, HERE, Place, config_of, small_config


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
    title = f"own prompts {name.partition('@')[2]}"
    with pytest.raises(InputError, match=f"1 of the prompts belong to {title}, which judges the result"):
        estimate_search(str(place.prompts), (name,), GenerationSettings(), config_of("flat"))


def test_files_that_answer_otherwise_are_no_result(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.search.engines._alpha_of", lambda _: 9.0)
    with pytest.raises(CorruptError, match="its files do not answer as"):
        place.search(FakeVllm())
    assert not Store(str(place.folder / "store")).names("searches")
