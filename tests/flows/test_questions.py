"""What a run's judges will be paid for, said to a person before anything is done."""

from pathlib import Path

import pytest

from flows.expo import expo
from flows.parameters import FamilyName
from flows.questions import estimate_run
from flows.search import estimate_family_search
from tasks.benchmarks.anchor_sample import SAMPLE
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.instructions import find_instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError
from tasks.core.families import find_family
from tasks.search.objectives import ObjectiveConfig
from tasks.search.search_config import SearchConfig

JUDGE = Judge(model="some-judge", base_url="http://127.0.0.1:9/v1", dollars_per_million=(10, 30))
TWO = (FamilyName("zephyr-7b-alpha"), FamilyName("zephyr-7b-beta"))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three prompts of one's own; stages run in this process, without Prefect."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("flows.questions.instructions", find_instructions)
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f'{{"prompt": "question {n}"}}\n' for n in range(3)))
    return str(path)


def test_the_families_of_a_run_are_estimated_together(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own prompts are judged in both orders; what a guard's rule judges costs nothing."""
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    config = RunConfig(benchmarks=(), prompts=own, judge=JUDGE, guards=("sums",))
    assert "some-judge will judge at most: 6 requests, about " in estimate_run(TWO[:1], config)
    assert "some-judge will judge at most: 12 requests, about " in estimate_run(TWO, config)
    seeds = config.model_copy(update={"generation": config.generation.model_copy(update={"seeds": 2})})
    assert "some-judge will judge at most: 24 requests, about " in estimate_run(TWO, seeds)
    measured = estimate_run(TWO, config, anchors=True)
    assert measured.endswith(f"some-judge will judge at most {SAMPLE} stored pairs again")
    by_rule = RunConfig(benchmarks=("sums",), judge=JUDGE)
    assert estimate_run(TWO, by_rule) == ""


def test_searches_are_a_part_of_it(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def estimate(*given: object) -> str:
        asked.append(given)
        return "about 1,000 answers"

    monkeypatch.setattr("flows.search.estimate_search", estimate)
    config = RunConfig(benchmarks=(), prompts=own, judge=JUDGE, alpha="search")
    said = estimate_run(TWO, config)
    assert all(f"; the search for {name}: about 1,000 answers" in said for name in TWO)
    (held_out, evaluations, _, search), _ = asked
    assert held_out == "ultrafeedback" and search.judge == JUDGE  # type: ignore[attr-defined]
    assert [str(uri).partition("@")[0] for uri in evaluations] == ["prompts"]  # type: ignore[attr-defined]
    by_function = SearchConfig(objective=ObjectiveConfig(function="module:function"))
    assert estimate_family_search(find_family(TWO[0]), by_function, JUDGE, ()) == (), "no judge is asked"


def test_a_run_asks_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[object] = []

    def refuse(estimate: str) -> None:
        given.append(estimate)
        raise InputError("not approved")

    def estimate(families: object, config: RunConfig, *, anchors: bool) -> str:
        given.extend((families, config.judge, anchors))
        return "12 requests"

    monkeypatch.setattr("flows.expo.require_approval", refuse)
    monkeypatch.setattr("flows.expo.estimate_run", estimate)
    for done in ("measure_anchors", "_run_families"):
        monkeypatch.setattr(f"flows.expo.{done}", lambda *_: pytest.fail("the run began"))
    limited = JUDGE.model_copy(update={"max_requests": 30})
    with pytest.raises(InputError, match="not approved"):
        expo.fn(TWO, judge=limited, store=str(tmp_path), ask_before_judging=True)
    assert given == [TWO, limited, False, "12 requests"], "the limits are the whole run's"
