"""A search that is killed at any write, or stopped by a limit: the next one ends in the same result."""

from contextlib import suppress
from pathlib import Path

import pytest

from tasks.benchmarks.judge_config import Judge
from tasks.core.append_file import AppendFile
from tasks.search.deadline import Deadline
from tasks.search.objectives import ObjectiveConfig
from tasks.search.result import SearchResult, describe
from tasks.stores.artefact import Store
from tests.search.engines import FakeVllm
from tests.search.places import HERE, Place, small_config

PEAK = f"{HERE}:peak"


class Killed(BaseException):
    """As if the process was gone."""


class Killer:
    """Kills at a write: half of a journal's line is on the disk by then, of any other file nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.limit = 0, -1
        append, replace = AppendFile.append, Path.replace

        def kill_or_append(file: AppendFile, line: bytes) -> None:
            if self._is_due():
                file._file.write(line[: len(line) // 2])
                file._file.flush()
                raise Killed
            append(file, line)

        def kill_or_replace(path: Path, target: Path) -> Path:
            if self._is_due():
                raise Killed
            return replace(path, target)

        monkeypatch.setattr(AppendFile, "append", kill_or_append)
        monkeypatch.setattr(Path, "replace", kill_or_replace)

    def _is_due(self) -> bool:
        self.writes += 1
        return self.writes - 1 == self.limit


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("tasks.stats.paired.RESAMPLES", 500)
    return Place(tmp_path, monkeypatch)


def _timeless(result: SearchResult) -> SearchResult:
    return result.model_copy(update={"costs": result.costs.model_copy(update={"seconds": 0.0})})


def test_a_search_that_is_killed_again_and_again_ends_in_the_same_result(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is killed at its second to seventh write: of journals, probes, the model or the result."""
    config = small_config(ObjectiveConfig(function=PEAK))
    killer = Killer(monkeypatch)
    wanted = _timeless(place.search(FakeVllm(), store="undisturbed", config=config))
    assert wanted.alpha is not None
    tries, found = 0, None
    while found is None:
        killer.writes, killer.limit, tries = 0, 1 + tries % 6, tries + 1
        assert tries < 200, "it gets nowhere"
        with suppress(Killed):
            found = _timeless(place.search(FakeVllm(), config=config))
    assert found == wanted
    assert tries > 10, "otherwise little was interrupted"


class Clock:
    """A minute passes between two looks."""

    def __init__(self, limit: float | None) -> None:
        self.deadline = Deadline(limit, self)
        self.minutes = 0

    def __call__(self) -> float:
        self.minutes = getattr(self, "minutes", -1) + 1
        return 60.0 * self.minutes


def test_a_limit_of_time_ends_a_search_with_what_was_found_and_the_next_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(ObjectiveConfig(function=PEAK))
    wanted = place.search(FakeVllm(), store="undisturbed", config=config)
    store = Store(str(place.folder / "store"))
    for minutes, rounds in ((1, 0), (25, 1)):
        limited = config.model_copy(update={"max_minutes": float(minutes)})
        with monkeypatch.context() as patch:
            patch.setattr("tasks.search_alpha.Deadline", lambda limit: Clock(limit).deadline)
            part = place.search(FakeVllm(), config=limited)
        assert part.alpha is None and part.reason == "stopped by a limit"
        assert part.stopped == f"the limit of {minutes} minutes has passed"
        assert part.rounds == wanted.rounds[:rounds] and bool(part.standings) == bool(rounds)
        assert "nothing is confirmed" in describe(part)
        assert not store.names("searches") and not store.names("models")
    found = place.search(FakeVllm(), config=config)
    assert _timeless(found) == _timeless(wanted)
    assert store.names("searches")


def test_a_judges_limit_ends_a_search_with_what_was_found_and_a_higher_one_goes_on(place: Place) -> None:
    def search(limit: int | None, store: str) -> SearchResult:
        judge = Judge(model="demo-rule", base_url="demo:rule", max_requests=limit)
        return place.search(FakeVllm(), store=store, config=small_config(ObjectiveConfig(judge=judge)))

    wanted = search(None, "undisturbed")
    asked = wanted.costs.judge_requests
    part = search(asked - 1, "store")
    assert part.alpha is None and part.rounds and f"pass the limit of {asked - 1}" in part.stopped
    assert 0 < part.costs.judge_requests < asked
    (page,) = (place.folder / "store" / "searches").glob("*/search.md")
    assert page.read_text().count("No α yet") == 1
    assert _timeless(search(asked, "store")) == _timeless(wanted)


def test_time_that_is_spent_on_writing_the_choice_down_is_not_limited() -> None:
    clock = Clock(1)
    clock.deadline.lift()
    for _ in range(5):
        clock.deadline.check()
