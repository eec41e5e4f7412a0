"""What a run with a search refuses before the search is paid for."""

from pathlib import Path

import pytest

from flows import family as family_flow
from flows.parameters import FamilyName
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.instructions import find_instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError, PermanentError
from tasks.core.families import Family
from tests.benchmarks import sums

JUDGE = Judge(model="some-judge", base_url="http://127.0.0.1:9/v1")
NOT_HERE = "prompts@" + "0" * 12


@pytest.fixture(autouse=True)
def no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search fails the test; stages run in this process, without Prefect."""

    def searched(*_: object) -> None:
        pytest.fail("the search began")

    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    monkeypatch.setattr("flows.questions.instructions", find_instructions)
    monkeypatch.setattr(family_flow, "search_family", searched)


def run(store: Path, config: RunConfig, family: str = "zephyr-7b-beta") -> None:
    unpublished = family_flow.expo_family.fn.__wrapped__  # type: ignore[attr-defined]
    given = {"alpha": "search", "judge": JUDGE, "store": str(store)}
    unpublished(FamilyName(family), config.model_copy(update=given))


def test_a_search_is_given_all_that_the_run_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard's whole benchmark, though a sample of it is asked, and prompts of one's own."""
    own = tmp_path / "own.jsonl"
    own.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    given: list[tuple[str, ...]] = []

    def searched(_1: object, _2: object, _3: object, asked: tuple[str, ...], _4: object) -> None:
        given.append(asked)
        raise InputError("found nothing")

    monkeypatch.setattr(family_flow, "search_family", searched)
    monkeypatch.setattr(sums, "SUMS", {f"What is {n} plus 1?": n + 1 for n in range(30)})
    with pytest.raises(InputError, match="found nothing"):
        run(tmp_path, RunConfig(benchmarks=(), prompts=str(own), guards=("sums:20",)))
    assert [(name.partition("@")[0], *rest) for name, *rest in given] == [("prompts", "sums")]


def test_checkpoints_are_made_by_a_stage_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the search, or whatever else would have the provider make them; only where it has to."""
    made: list[str] = []

    def make(family: Family) -> None:
        made.append(family.name)
        raise InputError("made")

    monkeypatch.setattr(family_flow, "make_checkpoints", make)
    monkeypatch.setattr("tasks.demo.provider.is_made", lambda _: False)
    monkeypatch.setattr("tasks.demo.provider.find", lambda uri: pytest.fail(f"{uri} was asked for"))
    with pytest.raises(InputError, match="made"):
        run(tmp_path, RunConfig(), family="demo")
    with pytest.raises(InputError, match="the registry has none for it"):
        run(tmp_path, RunConfig(curve=(0.1,)))
    assert made == ["demo"]


def test_a_sample_larger_than_the_guards_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a sample of 20: the benchmark has 10 items"):
        run(tmp_path, RunConfig(guards=("sums:20",)))


def test_prompts_that_are_not_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not on this machine"):
        run(tmp_path, RunConfig(benchmarks=(NOT_HERE,)))


def test_a_guard_whose_rule_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise PermanentError("sums need an abacus")

    monkeypatch.setattr(sums.BENCHMARK, "require", missing)
    with pytest.raises(PermanentError, match="sums need an abacus"):
        run(tmp_path, RunConfig(guards=("sums",)))


def test_a_curve_without_held_out_instructions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the registry has none for it"):
        run(tmp_path, RunConfig(curve=(0.1,)))
