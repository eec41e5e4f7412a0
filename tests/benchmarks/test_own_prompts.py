"""Prompts of one's own: read in every form, named by digest, judged against the original's answers."""

import json
from pathlib import Path

import pytest

from tasks.benchmarks.own_prompts import is_own, register
from tasks.benchmarks.registry import benchmark_of_verdict, find_benchmark, measure_of
from tasks.comparison.decoding import GenerationConfig
from tasks.comparison.instructions import asked_benchmarks, find_instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError
from tasks.generation.questions import read_questions

PROMPTS = [{"prompt": "One?"}, {"instruction": "Two?", "category": "b"}, {"uid": "3", "question": "Three?"}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_is_a_benchmark_by_its_digest(tmp_path: Path) -> None:
    name = register(write(tmp_path / "p.jsonl", PROMPTS))
    assert is_own(name) and name == register(write(tmp_path / "copy.jsonl", PROMPTS))
    assert name != register(write(tmp_path / "other.jsonl", PROMPTS[:2]))
    benchmark = find_benchmark(name)
    assert benchmark is not None and benchmark_of_verdict(name).name == name
    assert name[8:] in measure_of(name).title and benchmark.against_original
    questions = read_questions(benchmark.questions(), benchmark.form)
    assert [question.turns[0] for question in questions] == ["One?", "Two?", "Three?"]
    asked = find_instructions(name)
    assert (asked.count, asked.benchmark) == (3, name)


def test_a_run_asks_them_beside_its_benchmarks(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", PROMPTS)
    config = RunConfig(prompts=str(path))
    assert asked_benchmarks(config.benchmarks, config.prompts) == ("alpaca_eval", register(path))
    assert "prompts" not in RunConfig().model_dump()  # what is stored of runs without stays what it was
    with pytest.raises(ValueError, match="compares the two arms"):
        RunConfig(prompts=str(path), arms=("expo",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (PROMPTS[:1], "at least two prompts; there is 1"),
        ([*PROMPTS, {"answer": "?"}], "line 4 has no text under any of prompt, instruction"),
        ([*PROMPTS, {"prompt": " "}], "line 4 has no text"),
        ([*PROMPTS, PROMPTS[0]], "line 4: prompt '[0-9a-f]{16}' is there twice"),
    ],
)
def test_what_is_no_file_of_prompts(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        register(write(tmp_path / "p.jsonl", rows))


def test_prompts_that_are_not_on_this_machine() -> None:
    with pytest.raises(InputError, match=r"prompts@0{12}: these prompts are not on this machine"):
        find_benchmark("prompts@" + "0" * 12).questions()


class Done:
    """A generation that has ended; its name stands for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def result(self) -> tuple[str]:
        return (self._name,)


def test_each_seed_is_judged_against_the_originals_of_that_seed(tmp_path: Path) -> None:
    """Two seeds and a noise run: the original against itself is free, its noise run is not."""
    from flows.family import _judged_against, _judgings, _Submitted

    own = find_instructions(register(write(tmp_path / "p.jsonl", PROMPTS)))
    config = RunConfig(generation=GenerationConfig(seeds=2, noise_band=True))
    assert _judgings([own], config) == [own] * 3
    answers = [
        _Submitted(own, arm, number, Done(f"{arm} {number}"))  # type: ignore[arg-type]
        for arm in ("original", "expo")
        for number in config.generation.seeds_of(arm)
    ]
    against = [str(_judged_against(submitted, answers, config.generation)) for submitted in answers]
    assert against == ["original 0", "original 1", "original 0", "original 0", "original 1"]
