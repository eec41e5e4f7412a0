"""A verified benchmark as a rail: it vetoes before the objective ranks, and each candidate answers once."""

import json
import re
from pathlib import Path

import pytest

from tasks.benchmarks.data import DataFile
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError
from tasks.generation.answer_journal import Answer
from tasks.generation.settings import GenerationSettings
from tasks.search.guard_rail import GuardRail, open_guards
from tasks.search.held_out import HeldOut
from tasks.search.objectives import ObjectiveConfig
from tasks.search.rails import RailLimits, Vitals, broken, read_rails
from tasks.search.search_config import SearchConfig, search_fingerprint
from tasks.stores.source import Checkpoint
from tasks.weights.recipe import Recipe
from tests.benchmarks.sums import BENCHMARK, SUMS
from tests.search.engines import FakeVllm
from tests.search.places import HERE, Place, small_config


@pytest.fixture(autouse=True)
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    monkeypatch.setattr("tasks.stats.paired.RESAMPLES", 500)


def _answers(*texts: str) -> list[Answer]:
    return [Answer(output=text, tokens=1, finish_reason="stop", looping=False) for text in texts]


def test_a_guard_scores_the_first_questions_by_its_rule(tmp_path: Path) -> None:
    guard = GuardRail("sums", 4)
    assert guard.prompts == tuple(SUMS)[:4]
    assert guard.score(_answers("3", "6", "it is 9", "11"), tmp_path) == 75.0


def test_a_benchmark_that_a_judge_scores_is_no_guard() -> None:
    with pytest.raises(InputError, match="is not verified by a rule"):
        open_guards({"alpaca_eval": 5.0}, 10)
    with pytest.raises(InputError, match="no benchmark 'nothing'"):
        open_guards({"nothing": 5.0}, 10)


@pytest.mark.parametrize(("score", "holds"), [(55.0, True), (54.0, False)])
def test_a_loss_beyond_the_margin_breaks_the_rail(score: float, holds: bool) -> None:
    baseline = Vitals(prompts=10, unended=0, repeating=0, mean_characters=90, guards={"sums": 60.0})
    candidate = baseline.model_copy(update={"guards": {"sums": score}})
    found = broken(read_rails(candidate, baseline, RailLimits(guards={"sums": 5.0})))
    assert found == (() if holds else ("loss on sums",))


def test_prompts_that_a_guard_asks_cannot_choose_alpha(place: Place) -> None:
    guarded = _guarded(small_config(ObjectiveConfig(function=f"{HERE}:peak")))
    rows = [json.dumps({"text": f"Say something about {number}."}) for number in range(64)]
    place.prompts.write_text("\n".join([*rows, json.dumps("what is 4 plus 8")]))
    with pytest.raises(InputError, match="1 of the prompts belong to Ten sums, which judges the result"):
        place.search(FakeVllm(), config=guarded)


def test_a_searchs_name_holds_its_guards_rule_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        aligned=Checkpoint(uri="org/aligned", commit="a" * 40),
        sft=Checkpoint(uri="org/sft", commit="b" * 40),
        alpha=0.0,
    )
    prompts = HeldOut(choosing=("a",), confirming=("b",))

    def name(config: SearchConfig) -> str:
        return search_fingerprint(recipe, config, GenerationSettings(), prompts, "fake 1.0")

    plain = small_config(ObjectiveConfig(function=f"{HERE}:peak"))
    names = [name(plain), name(_guarded(plain))]
    monkeypatch.setattr(BENCHMARK, "rule", "last number, version 2")
    names += [name(plain), name(_guarded(plain))]
    data = DataFile("sums.json", "0" * 64, "https://nowhere.invalid/")
    monkeypatch.setattr(BENCHMARK, "data_files", (data,))
    names += [name(plain), name(_guarded(plain))]
    assert names[0] == names[2] == names[4]
    assert len({names[1], names[3], names[5]}) == 3


def _guarded(plain: SearchConfig) -> SearchConfig:
    race = plain.race.model_copy(update={"limits": RailLimits(guards={"sums": 5.0})})
    return plain.model_copy(update={"race": race, "guard_items": 10})


class Forgetful(FakeVllm):
    """An engine that forgets to add where α is beyond 0.5."""

    def text(self, alpha: float, prompt: str, seed: int | None) -> str:
        if prompt in SUMS:
            return str(SUMS[prompt] if alpha <= 0.5 else 0)
        return super().text(alpha, prompt, seed)


def test_a_search_leaves_out_what_loses_on_the_guard_and_asks_it_once(place: Place) -> None:
    """The objective's best is 0.6; from 0.6 on the sums are wrong."""
    guarded = _guarded(small_config(ObjectiveConfig(function=f"{HERE}:peak")))
    vllm = Forgetful()
    result = place.search(vllm, config=guarded)
    out = {
        standing.alpha: standing.broken for standing in result.standings if standing.fate == "broke a rail"
    }
    assert out and all(alpha > 0.5 and names == ("loss on sums",) for alpha, names in out.items())
    assert all(standing.score is None for standing in result.standings if standing.alpha in out)
    assert result.alpha is not None and result.alpha <= 0.5
    asked = place.folder.glob("store/searches/*/alpha-*/guard-sums/answers.jsonl")
    assert all(len(re.findall('"batch"', path.read_text())) == 1 for path in asked)
    rows = json.loads(next(place.folder.glob("store/searches/*/guards/sums-0/answers.json")).read_text())
    assert [row["instruction"] for row in rows] == list(SUMS)
