"""A verified benchmark as a rail: it vetoes before the objective ranks, and each candidate answers once."""

import json
import re
from pathlib import Path

import pytest

from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError
from tasks.generation.answer_journal import Answer
from tasks.search.guard_rail import GuardRail, open_guards
from tasks.search.objectives import ObjectiveConfig
from tasks.search.rails import RailLimits, Vitals, broken, read_rails
from tests.benchmarks.sums import SUMS
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


class Forgetful(FakeVllm):
    """An engine that forgets to add where α is beyond 0.5."""

    def text(self, alpha: float, prompt: str, seed: int | None) -> str:
        if prompt in SUMS:
            return str(SUMS[prompt] if alpha <= 0.5 else 0)
        return super().text(alpha, prompt, seed)


def test_a_search_leaves_out_what_loses_on_the_guard_and_asks_it_once(place: Place) -> None:
    """The objective's best is 0.6; from 0.6 on the sums are wrong."""
    plain = small_config(ObjectiveConfig(function=f"{HERE}:peak"))
    limits = RailLimits(guards={"sums": 5.0})
    guarded = plain.model_copy(
        update={"race": plain.race.model_copy(update={"limits": limits}), "guard_items": 10}
    )
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
