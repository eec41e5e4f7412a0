"""Guards as they are named before a run: margins, samples, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.benchmarks import nltk_files
from tasks.benchmarks.arena_hard_data import CREATIVE_ANSWERS, HARD_ANSWERS
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.guards import Guard, guards_of_run, parse_guard
from tasks.comparison.instructions import find_instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError, RetryableError
from tests.benchmarks.instruction_files import DOCUMENTS, use_small_ifeval
from tests.benchmarks.sums import SUMS
from tests.benchmarks.synthetic import ARENA, take_for_pinned


@pytest.mark.parametrize(
    ("text", "name", "sample", "margin"),
    [
        ("ifeval", "ifeval", None, None),
        ("ifeval=3", "ifeval", None, 3),
        ("gsm8k=2.5", "gsm8k", None, 2.5),
        ("gsm8k:200", "gsm8k", 200, None),
        ("gsm8k:200=5", "gsm8k", 200, 5),
    ],
)
def test_a_guard_is_read(text: str, name: str, sample: int | None, margin: float | None) -> None:
    assert parse_guard(text) == Guard(name=name, sample=sample, margin=margin)
    assert RunConfig(guards=(text,)).guards == (text,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mt_bench", "no benchmark that a rule verifies; there are ifeval, ifbench, gsm8k"),
        ("arc", "no benchmark that a rule verifies"),
        ("ifeval=", "write ifeval, ifeval=3 (points), or gsm8k:200=5 (of 200 items)"),
        ("ifeval:5", "fewer than 20 items show nothing"),
        ("ifeval=0", "a margin is between 0 and 100 points"),
        ("ifeval=100", "a margin is between 0 and 100 points"),
    ],
)
def test_what_is_no_guard_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)):
        parse_guard(text)
    with pytest.raises(ValidationError, match=re.escape(why)):
        RunConfig(guards=(text,))


def test_guards_of_a_run_fit_its_benchmarks() -> None:
    assert [guard.name for guard in guards_of_run(("ifeval", "gsm8k"), ("alpaca_eval",))] == [
        "ifeval",
        "gsm8k",
    ]
    with pytest.raises(InputError, match="ifeval: both a benchmark and a guard"):
        guards_of_run(("ifeval",), ("ifeval",))
    with pytest.raises(InputError, match="guard gsm8k: named twice"):
        guards_of_run(("gsm8k", "gsm8k=5"), ("alpaca_eval",))
    with pytest.raises(InputError, match="name a benchmark that shows the gain"):
        guards_of_run(("gsm8k",), ())


def test_the_margin_of_a_sample_is_wider() -> None:
    guard = parse_guard("gsm8k")
    assert guard.margin_of(1319, 1319) == 3
    assert guard.margin_of(330, 1319) == 6, "half the width at four times the items"
    assert guard.margin_of(200, 1319) == 8
    assert parse_guard("gsm8k=2").margin_of(200, 1319) == 2


def test_a_sample_is_always_the_same_and_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path))
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    asked = {size: find_instructions(f"sums:{size}") for size in (3, 6, 10)}
    assert [(found.count, found.total, found.benchmark) for found in asked.values()] == [
        (size, 10, "sums") for size in asked
    ]
    texts = {
        size: [row["instruction"] for row in json.loads(found.path().read_text())]
        for size, found in asked.items()
    }
    assert set(texts[3]) < set(texts[6]) < set(texts[10]) == set(SUMS)
    assert texts[6] == [question for question in SUMS if question in texts[6]], "in the benchmark's order"
    assert find_instructions("sums:3").sha256 == asked[3].sha256 != asked[6].sha256
    assert find_instructions("sums").total is None
    with pytest.raises(InputError, match="a sample of 11: the benchmark has 10 items"):
        find_instructions("sums:11")


def test_what_judging_needs_is_fetched_with_the_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offline worker says so before anything is generated, not when the answers are to be judged."""

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("tasks.benchmarks.data.urlopen", offline)
    use_small_ifeval(tmp_path, monkeypatch)
    assert find_instructions("ifeval").count == len(DOCUMENTS)
    nltk_files.PUNKT.file.path.unlink()
    with pytest.raises(RetryableError, match="cannot be reached"):
        find_instructions("ifeval")

    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "arena"))
    take_for_pinned(monkeypatch)
    assert find_instructions("arena_hard").count == len(ARENA)
    for file in (HARD_ANSWERS, CREATIVE_ANSWERS):
        away = file.path.rename(tmp_path / "away")
        with pytest.raises(RetryableError, match="cannot be reached"):
            find_instructions("arena_hard")
        away.rename(file.path)
