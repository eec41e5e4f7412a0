"""The α that an earlier search of the same pair found."""

from pathlib import Path

import pytest
import yaml

from tasks.core.errors import InputError
from tasks.core.families import load_registry
from tasks.search.found import SEARCHES, alpha_of_search, pair_key
from tasks.search.racing import Standing
from tasks.search.rails import RailReading
from tasks.search.result import Confirmation, SearchCosts, SearchResult
from tasks.search.tables import registry_entry, render_search
from tasks.stats.paired import PairedDifference
from tasks.stores.artefact import Store
from tasks.stores.source import Checkpoint

ALIGNED, SFT = Checkpoint(uri="org/aligned", commit="a" * 40), Checkpoint(uri="org/sft", commit="b" * 40)
BROKEN = RailReading(rail="repetition", value=0.4, limit="at most 0.1", holds=False)
STANDINGS = (
    Standing(alpha=0.0, fate="trails the best", prompts=64, score=0.5, gain=0.0, standard_error=0.0),
    Standing(alpha=0.5, fate="tied with the best", prompts=64, score=0.6, gain=0.1, standard_error=0.02),
    Standing(
        alpha=2.0, fate="broke a rail", prompts=32, score=None, gain=None, standard_error=None,
        rails=(BROKEN,), broken=("repetition",),
    ),
)  # fmt: skip


def _result(alpha: float | None = 0.5, fingerprint: str = "f" * 64, objective: str = "rule") -> SearchResult:
    difference = PairedDifference(
        mean=0.1, lower=0.06, upper=0.14, standard_error=0.02, p_value=0.001, n=64, detectable=0.05
    )
    return SearchResult(
        aligned=pair_key(ALIGNED), sft=pair_key(SFT), objective=objective, judged=False, alpha=alpha,
        reason="confirmed" if alpha else "not confirmed", best=0.5, tied=(0.5,), standings=STANDINGS,
        rounds=(32, 64),
        confirmation=Confirmation(alpha=0.5, difference=difference, rails=(), second=difference),
        costs=SearchCosts(answers=300, answer_tokens=9000, seconds=12.0, judge_requests=150, dollars=1.5),
        engine="fake 1.0, weights replaced in place", fingerprint=fingerprint,
    )  # fmt: skip


def _keep(store: Store, name: str, result: SearchResult) -> None:
    store.artefact(SEARCHES, name).seal(result.model_dump_json().encode())


def test_the_pairs_search_gives_its_alpha(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    _keep(store, "one", _result())
    _keep(store, "two", _result().model_copy(update={"sft": "org/other@c", "alpha": 3.0}))
    assert alpha_of_search(store, ALIGNED, SFT) == 0.5


def test_another_commit_is_another_pair(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    _keep(store, "one", _result())
    with pytest.raises(InputError, match="was not searched there; run `expo search`"):
        alpha_of_search(store, Checkpoint(uri="org/aligned", commit="c" * 40), SFT)


def test_a_search_without_an_alpha_gives_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    _keep(store, "one", _result(None))
    with pytest.raises(InputError, match="found no α that helps"):
        alpha_of_search(store, ALIGNED, SFT)


def test_searches_that_disagree_are_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    _keep(store, "one", _result())
    _keep(store, "two", _result(1.1, objective="judge"))
    with pytest.raises(InputError, match=r"0\.5 \(rule\), 1\.1 \(judge\)"):
        alpha_of_search(store, ALIGNED, SFT)


def test_the_page_has_the_curve_the_rails_the_confirmation_and_the_costs() -> None:
    page = render_search(_result())
    assert "| 0.5 | 64 | +0.100 |" in page and "| 2 | 32 | – | – | broke a rail | repetition |" in page
    assert "α = 0.5: +0.1 over α = 0 on 64 fresh prompts, 95% +0.06 to +0.14" in page
    assert "second objective, which decided nothing" in page
    assert "300 answers of 9,000 tokens in 12 s; 150 requests to a judge, $1.50." in page


def test_the_registry_takes_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "families.yaml"
    path.write_text(registry_entry(_result(), "my-pair"))
    entry = load_registry(path)["my-pair"]
    assert (entry.aligned, entry.sft, entry.alpha) == ("org/aligned", "org/sft", 0.5)
    assert entry.alpha_source.startswith("expo search, ffff")
    assert registry_entry(_result(None), "my-pair") == ""
    assert yaml.safe_load(path.read_text())["my-pair"]["group"] == "experimental"
