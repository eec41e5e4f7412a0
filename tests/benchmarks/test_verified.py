"""IFEval and GSM8K, scored by lm-eval without a network: right answers, files that lack some, figures."""

import json
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tasks.benchmarks import gsm8k, ifeval, lm_eval_tasks, scorers
from tasks.benchmarks.data import import_from
from tasks.benchmarks.figures import Judged
from tasks.benchmarks.gsm8k import GSM8KScore
from tasks.benchmarks.instruction_following import InstructionScore
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.registry import benchmark_names, find_benchmark
from tasks.comparison.compare import compare
from tasks.core.errors import InputError, PermanentError
from tests.benchmarks.instruction_files import DOCUMENTS, use_small_ifeval

ORIGINAL = ["Hello there", "i would like to eat a ripe pear this morning", "It rained. Then it stopped."]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_small_ifeval(tmp_path, monkeypatch)
    return tmp_path


def judged(benchmark: Benchmark, folder: Path, answers: Sequence[tuple[str, str]], name: str = "m") -> Judged:
    """Pairs of an instruction and the answer to it, judged."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.json"
    rows = [{"instruction": asked, "output": output, "generator": name} for asked, output in answers]
    file.write_text(json.dumps(rows))
    rule = benchmark.own_judge()
    assert rule is not None
    place = folder / name
    place.mkdir()
    return Judged(file, benchmark.judge(file, benchmark.questions(), rule, place, advance=lambda _: None))


def followed(folder: Path, answers: Sequence[str], name: str = "m") -> Judged:
    prompts = [document["prompt"] for document in DOCUMENTS]
    return judged(ifeval.BENCHMARK, folder, list(zip(prompts, answers, strict=False)), name)


def test_an_instruction_is_followed_or_not(small: Path) -> None:
    """The second answer follows one instruction of two; loosely, without its first line, both."""
    found = followed(
        small, ["Hello there", "Sure:\ni would like to eat a ripe pear this morning", "It rained"]
    )
    score = ifeval.BENCHMARK.score(found.judgments)
    assert isinstance(score, InstructionScore)
    assert (score.prompt_strict, score.prompt_loose) == pytest.approx((100 / 3, 200 / 3))
    assert (score.instruction_strict, score.instruction_loose) == pytest.approx((50, 75))
    assert score.kinds == {"change_case": 0, "keywords": 100, "length_constraints": 0, "punctuation": 100}
    assert score.metrics().kinds == score.kinds and score.judge == f"lm-eval {lm_eval_tasks.VERSION}: ifeval"
    assert ifeval.BENCHMARK.item_scores(found.judgments) == {1000: 100, 1001: 0, 1005: 0}


def test_the_same_answers_score_the_same_each_time(small: Path) -> None:
    """The checker of languages draws at random unless it is seeded: short answers change sides."""
    files = [followed(small, ["a", "pear a la carte", "si. no."], f"try{number}") for number in range(3)]
    contents = {file.judgments.read_text().replace(f"try{n}", "") for n, file in enumerate(files)}
    assert len(contents) == 1


def test_what_one_arm_has_right_and_the_other_wrong_is_shown(small: Path) -> None:
    before, after = (
        followed(small, ORIGINAL, "before"),
        followed(small, ["Hello, there", *ORIGINAL[1:]], "after"),
    )
    (lost,) = ifeval.BENCHMARK.rows(before, after).dialogues
    (turn,) = lost.turns
    assert (lost.question_id, turn.original_rating, turn.expo_rating) == (1000, 1, 0)
    assert turn.original_judgment == "all instructions followed"
    assert turn.expo_judgment == "not followed: punctuation:no_comma"


def test_an_answer_that_is_missing_is_in_no_figure(small: Path) -> None:
    found = followed(small, ORIGINAL[:2])
    counts = ifeval.BENCHMARK.count(found.judgments)
    assert (counts.n_total, counts.n_failed) == (3, 1)
    assert counts.causes == {"not in the file of answers": 1}
    with pytest.raises(PermanentError, match="2 of 3 items have an answer, and a figure needs 95%"):
        ifeval.BENCHMARK.score(found.judgments)
    score = ifeval.BENCHMARK.score(found.judgments, min_judged=0.5)
    assert isinstance(score, InstructionScore) and (score.prompt_strict, score.n_total) == (100, 2)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "not a list of answers"),
        ([{"instruction": "Say hello. Use no comma."}], "item 0 has no text in 'instruction' or 'output'"),
        ([{"instruction": "Sing.", "output": "la"}], "item 0 is no question of this benchmark: 'Sing.'"),
        ([{"instruction": DOCUMENTS[0]["prompt"], "output": "a"}] * 2, "item 1 was answered before"),
    ],
)
def test_a_file_of_other_answers_is_refused(small: Path, rows: list[dict[str, Any]], why: str) -> None:
    file = small / "answers.json"
    file.write_text(json.dumps(rows))
    rule = ifeval.BENCHMARK.own_judge()
    assert rule
    with pytest.raises(InputError, match=re.escape(why)):
        ifeval.BENCHMARK.judge(file, ifeval.BENCHMARK.questions(), rule, small, advance=lambda _: None)


def test_each_benchmark_recognizes_its_own_judgments(small: Path) -> None:
    found = followed(small, ORIGINAL).judgments
    benchmarks = [find_benchmark(name) for name in benchmark_names()]
    assert [benchmark.name for benchmark in benchmarks if benchmark.recognizes(found)] == ["ifeval"]
    verdict = compare(found, followed(small, ["no,"] * 3, "worse").judgments).verdict
    assert (verdict.benchmark, verdict.original.score, verdict.difference.n) == ("ifeval", 100, 3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"score": 50}, "line 1: the score is 0, 100 or null"),
        ({"rule": ...}, "line 1 has no rule"),
        ({"details": ...}, "line 1 has no details"),
        ({"item": 1001}, "an item stands twice in it"),
        ({"item": [1]}, "line 1: the item is a whole number"),
        ({"score": [100]}, "line 1: the score is 0, 100 or null"),
        ({"details": {}}, "line 1: the details are not those that IFEval's rule finds"),
        (
            {"details": {"instructions": ["a:b"], "strict": [True], "loose": []}},
            "line 1: the details are not",
        ),
        ({"question": None}, "line 1: question is a text"),
        ({"rule": "lm-eval 0.1: ifeval"}, "judgments of m by lm-eval 0.1: ifeval, m by"),
        ({"model": "other"}, "give a file of one model by one rule"),
    ],
)
def test_a_damaged_file_of_judgments_is_refused(small: Path, change: dict[str, Any], why: str) -> None:
    path = followed(small, ORIGINAL).judgments
    first, *others = map(json.loads, path.read_text().splitlines())
    changed = {name: value for name, value in (first | change).items() if value is not ...}
    path.write_text("".join(json.dumps(row) + "\n" for row in (changed, *others)))
    with pytest.raises(InputError, match=re.escape(why)):
        ifeval.BENCHMARK.score(path)


def test_details_of_another_rule_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k.jsonl"
    row = {"item": 1, "question": "q", "answer": "a", "reference": "1", "model": "m", "rule": "r: gsm8k"}
    several: tuple[object, ...] = ({}, [], {"strict": "yes"})
    for details in several:
        path.write_text(json.dumps({**row, "score": 100, "details": details}) + "\n")
        with pytest.raises(InputError, match="line 1: the details are not those that GSM8K"):
            gsm8k.BENCHMARK.score(path)


def test_a_folder_that_is_not_there_is_said_before_anything_is_scored(tmp_path: Path) -> None:
    from flows.cli.main import app

    command = [
        "guard",
        "gsm8k",
        str(tmp_path / "a.json"),
        "--judgments",
        str(tmp_path / "no-dir" / "x.jsonl"),
    ]
    refused = CliRunner().invoke(app, command).exception
    assert isinstance(refused, InputError) and "no-dir; make it first" in str(refused)


def test_without_the_package_one_line_says_what_to_install(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "version", lambda _: "0.5.0")
    with pytest.raises(PermanentError, match=r"and 0\.5\.0 is installed: pip install 'lm-eval=="):
        ifeval.BENCHMARK.require()

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(scorers, "version", missing)
    with pytest.raises(PermanentError, match=r"not installed: pip install 'expo-flows\[guards\]'"):
        gsm8k.BENCHMARK.require()


def test_the_prompt_is_the_one_of_the_package() -> None:
    from lm_eval import tasks

    task = yaml.safe_load((Path(str(tasks.__file__)).parent / gsm8k.TASK).read_text())
    assert task["doc_to_text"].replace("{{question}}", "{question}") == gsm8k.PROMPT
    assert {name["name"] for name in task["filter_list"]} == {"strict-match", "flexible-extract"}


@pytest.fixture
def problems(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The real problems, as the benchmark asks them."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    import_from(data / "gsm8k", gsm8k.BENCHMARK.data_files)
    items: list[dict[str, Any]] = json.loads(gsm8k.BENCHMARK.questions().read_text())
    return items


def test_the_real_problems_are_scored_as_a_short_oracle_says(
    problems: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Every third answer is wrong, every fourth is right and not in the form that the prompt asks for."""
    answers, right, strict = [], [], []
    for place, item in enumerate(problems):
        number = item["reference"].rpartition("#### ")[2].replace(",", "")
        given = number if place % 3 else str(int(number) + 1)
        in_form = place % 4 > 0
        text = f"So it is.\nThe final answer is {given}" if in_form else f"I would say {given} in all."
        answers.append((item["instruction"], text))
        right.append(place % 3 > 0)
        strict.append(place % 3 > 0 and in_form)
    found = judged(gsm8k.BENCHMARK, tmp_path, answers)
    score = gsm8k.BENCHMARK.score(found.judgments)
    assert isinstance(score, GSM8KScore) and score.n_total == len(problems) == 1319
    assert score.accuracy == pytest.approx(100 * sum(right) / 1319)
    assert score.strict == pytest.approx(100 * sum(strict) / 1319)
    assert [score == 100 for score in gsm8k.BENCHMARK.item_scores(found.judgments).values()] == right


def test_the_command_scores_stored_answers(small: Path) -> None:
    from flows.cli.main import app

    given = followed(small, ["Hello, there", *ORIGINAL[1:]], "stored")
    kept = small / "kept.jsonl"
    run = CliRunner().invoke(app, ["guard", "ifeval", str(given.answers), "--judgments", str(kept), "--json"])
    assert json.loads(run.output)["prompt_strict"] == pytest.approx(200 / 3), run.output
    assert kept.read_bytes() == given.judgments.read_bytes()
    table = CliRunner().invoke(app, ["guard", "ifeval", str(given.answers)]).output
    assert re.search(r"prompt strict +66\.67", table) and re.search(r"punctuation +0\.00", table)
    wrong = CliRunner().invoke(app, ["guard", "mt_bench", str(given.answers)])
    assert "no benchmark that a rule verifies; there are ifeval, ifbench, gsm8k" in str(wrong.exception)
