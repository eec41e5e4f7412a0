"""Real vLLM on the demo's pair, trained in part: it wants a large α, and under a reversed preference none."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.comparison.decoding import settings_of
from tasks.core.families import find_family
from tasks.demo.rule import score
from tasks.reports.run_report import RunReport
from tasks.resolve import resolve
from tasks.search.objectives import ObjectiveConfig
from tasks.search.result import SearchResult
from tasks.search.search_config import SearchConfig
from tasks.search_alpha import search_alpha
from tasks.stores.artefact import Store

pytestmark = pytest.mark.slow

HERE = "tests.search.test_demo_pair"


def kindness(prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
    return [score(*pair) for pair in zip(prompts, answers, strict=True)]


def unkindness(prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
    """What the aligned model was trained away from."""
    return [-points for points in kindness(prompts, answers)]


def _search(store: Path, objective: str) -> SearchResult:
    entry = find_family("demo")
    (recipe,) = resolve.fn(entry, (0.0,))
    config = SearchConfig(objective=ObjectiveConfig(function=f"{HERE}:{objective}"))
    return search_alpha.fn(
        recipe, "demo:alphas", ("demo:instructions",), settings_of(entry), config, str(store)
    )


def test_a_pair_that_was_trained_in_part_wants_a_large_alpha(tmp_path: Path) -> None:
    result = _search(tmp_path, "kindness")
    assert result.alpha is not None and result.alpha > 1
    assert result.confirmation is not None and result.confirmation.difference.mean > 1
    assert result.engine.endswith("weights replaced in place")
    assert len(Store(str(tmp_path)).names("models")) == 1


def test_a_run_for_a_reversed_preference_ends_without_a_verdict(
    prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    function = f"{HERE}:unkindness"
    monkeypatch.setenv("EXPO_SEARCH_FUNCTIONS", function)
    search = SearchConfig(objective=ObjectiveConfig(function=function))
    uri = expo((FamilyName("demo"),), alpha="search", search=search, store=str(tmp_path))
    (family,) = RunReport.model_validate_json((Path(uri) / "report.json").read_bytes()).families
    assert family.race is not None and family.race.sentence.startswith("No α")
    assert (family.alpha, family.verdicts, family.alpha_curve) == (0.0, (), ())
    assert not Store(str(tmp_path)).names("models") and not Store(str(tmp_path)).names("judgments")
