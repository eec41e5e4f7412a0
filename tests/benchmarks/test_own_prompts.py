"""Prompts of one's own: read in every form, named by digest, judged against the original's answers."""

import json
from pathlib import Path

import pytest

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.own_prompts import is_own, name_of, register
from tasks.benchmarks.registry import benchmark_of_verdict, find_benchmark, measure_of
from tasks.comparison.compare import compare
from tasks.comparison.decoding import GenerationConfig
from tasks.comparison.instructions import asked_benchmarks, find_instructions
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError
from tasks.generation.answer_journal import Answer
from tasks.generation.answers import answers_content
from tasks.generation.questions import read_questions
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling

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
    with pytest.raises(ValueError, match="compares the two arms"):
        RunConfig(benchmarks=(register(path),), arms=("expo",))


def test_a_benchmark_that_is_named_twice_is_asked_once(tmp_path: Path) -> None:
    """Its answers would count twice, and the original's noise against itself would be none."""
    path = write(tmp_path / "p.jsonl", PROMPTS)
    name = register(path)
    assert asked_benchmarks(("alpaca_eval", "alpaca_eval"), None) == ("alpaca_eval",)
    assert asked_benchmarks((name, "alpaca_eval"), str(path)) == (name, "alpaca_eval")


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


def answered(tmp_path: Path, name: str, output: str) -> Path:
    """Answers to prompts of one's own, as a generation writes them."""
    questions = read_questions(find_benchmark(name).questions(), "prompts")
    job = GenerationJob(
        model="m",
        instructions="",
        output="",
        settings=GenerationSettings(sampling=Sampling()),
        generator="original",
        benchmark=name,
        form="prompts",
    )
    answers = [Answer(output=output, tokens=1, finish_reason="stop", looping=False)] * len(questions)
    path = tmp_path / f"{output}.jsonl"
    path.write_bytes(answers_content(job, questions, answers))
    return path


def test_a_run_judges_each_prompt_by_its_category(tmp_path: Path) -> None:
    rows = [*PROMPTS, {"prompt": "A poem?", "category": "creative_writing"}]
    name = register(write(tmp_path / "p.jsonl", rows))
    original, expo = (answered(tmp_path, name, text) for text in ("short", "long"))
    matchups = find_benchmark(name).matchups(expo, original)  # type: ignore[attr-defined]
    assert [matchup.prompt.category for matchup in matchups] == ["", "b", "", "creative_writing"]
    assert name_of(expo) == name  # `expo judge --direct` finds the same prompts


@pytest.mark.parametrize("has_digest", [True, False])
def test_two_originals_answers_are_two_baselines(tmp_path: Path, judge: Judge, has_digest: bool) -> None:
    """All families' originals bear one name; only the text tells them apart."""
    name = register(write(tmp_path / "p.jsonl", PROMPTS))
    files: list[Path] = []
    benchmark = find_benchmark(name)
    for original in ("a short one", "a " + "very " * 20 + "long one"):
        reference = answered(tmp_path, name, original)
        file = benchmark.judge(
            reference, reference, judge, tmp_path / f"judging-{len(files)}", advance=lambda _: None
        )
        if not has_digest:
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            write(file, [{key: row[key] for key in row if key != "baseline_sha256"} for row in rows])
        files.append(file)
    benchmark.require_comparable(files[0], files[0])
    with pytest.raises(InputError, match="two baselines, both called original"):
        compare(*files)


class Done:
    """A generation that has ended; its name stands for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def result(self) -> tuple[str]:
        return (self._name,)


def test_each_seed_is_judged_against_the_originals_of_that_seed(tmp_path: Path) -> None:
    """Two seeds and a noise run: the original against itself is free, its noise run is not."""
    from flows.family import _judged_against, _Submitted
    from flows.questions import Questions

    own = find_instructions(register(write(tmp_path / "p.jsonl", PROMPTS)))
    config = RunConfig(generation=GenerationConfig(seeds=2, noise_band=True))
    assert Questions((own,), (), None).judgings(config, points=1) == [own] * 3
    answers = [
        _Submitted(own, arm, number, Done(f"{arm} {number}"))  # type: ignore[arg-type]
        for arm in ("original", "expo")
        for number in config.generation.seeds_of(arm)
    ]
    against = [str(_judged_against(submitted, answers, config.generation)) for submitted in answers]
    assert against == ["original 0", "original 1", "original 0", "original 0", "original 1"]
