"""MT-Bench by FastChat's published rules: what is asked, how a rating is read, what is averaged."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.mt_bench_data import MTBenchFiles
from tasks.benchmarks.mt_bench_judge import expected_usage, judge_turns, rating_of
from tasks.benchmarks.mt_bench_score import ratings, score_judgments
from tasks.core.errors import InputError, PermanentError
from tests.servers.judge import Body, JudgeServer

Rows = list[dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answer(question: int, first: str, second: str) -> dict[str, Any]:
    return {"question_id": question, "model_id": "model", "choices": [{"turns": [first, second]}]}


@pytest.fixture
def files(tmp_path: Path) -> MTBenchFiles:
    """Two questions, one of which needs a reference answer, with prompts that name what they hold."""
    prompts = {
        "single-v1": "Q {question} A {answer}",
        "single-math-v1": "Q {question} R {ref_answer_1} A {answer}",
        "single-v1-multi-turn": "Q {question_1} A {answer_1} Q {question_2} A {answer_2}",
        "single-math-v1-multi-turn": "R {ref_answer_1} {ref_answer_2} Q {question_2} A {answer_1} {answer_2}",
    }
    return MTBenchFiles(
        write(
            tmp_path / "question.jsonl",
            [
                {"question_id": 81, "category": "writing", "turns": ["w1", "w2"]},
                {"question_id": 111, "category": "math", "turns": ["m1", "m2"]},
            ],
        ),
        write(
            tmp_path / "judge_prompts.jsonl",
            [
                {"name": name, "system_prompt": f"system of {name}", "prompt_template": template}
                for name, template in prompts.items()
            ],
        ),
        write(tmp_path / "gpt-4.jsonl", [answer(111, "ref1", "ref2")]),
    )


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return write(tmp_path / "answers.jsonl", [answer(111, "x", "y {answer_1}"), answer(81, "a", "b\u2028c")])


def test_every_turn_is_put_into_the_prompt_of_its_category(
    files: MTBenchFiles, answers: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    judge_turns(answers, files, judge, tmp_path / "out", advance=lambda _: None)
    asked = {body["messages"][0]["content"]: body["messages"][1]["content"] for body in server.bodies}
    assert asked == {
        "system of single-v1": "Q w1 A a",
        "system of single-math-v1": "Q m1 R ref1 A x",
        "system of single-v1-multi-turn": "Q w1 A a Q w2 A b\u2028c",
        "system of single-math-v1-multi-turn": "R ref1 ref2 Q m2 A x y {answer_1}",
    }
    assert {(body["temperature"], body["max_tokens"]) for body in server.bodies} == {(0, 2048)}


@pytest.mark.parametrize(
    ("judgment", "rating"),
    [
        ("Good. Rating: [[7]]", 7),
        ("[3] of the points, so [[8.5]]", 8.5),
        ("Rating: [6]", 6),
        ("[[10]] rather than [[9]]", 10),
        ("Rating: 6", -1),
        ("[[7/10]]", -1),
        ("", -1),
    ],
)
def test_a_rating_is_read_by_the_two_published_patterns(judgment: str, rating: float) -> None:
    assert rating_of(judgment) == rating


def test_judgments_without_a_rating_are_counted_and_paid_for_once(
    files: MTBenchFiles, answers: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    server.says = lambda body: "no idea" if "ref2" in body["messages"][1]["content"] else "[[4]]"
    for _ in range(2):
        judgments = judge_turns(answers, files, judge, tmp_path / "out", advance=lambda _: None)
    assert len(server.bodies) == 4
    score = score_judgments(judgments, min_judged=0.5)
    assert (score.average, score.n_total, score.n_unparsed, score.n_failed) == (4, 3, 1, 0)
    assert ratings(judgments) == {(81, 1): 4, (81, 2): 4, (111, 1): 4, (111, 2): None}
    with pytest.raises(PermanentError, match="3 of 4 turns have a rating and a figure needs 95%"):
        score_judgments(judgments)


def test_a_turn_without_a_judgment_is_null(
    files: MTBenchFiles, answers: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    server.fail("400", on={2})
    lenient = judge.model_copy(update={"min_judged": 0.5, "max_concurrency": 1})
    judgments = judge_turns(answers, files, lenient, tmp_path / "out", advance=lambda _: None)
    assert [row["score"] for row in lines(judgments)] == [7, None, 7, 7]
    assert score_judgments(judgments, min_judged=0.5).n_failed == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([answer(81, "a", "b")], "no answer to question 111"),
        ([answer(81, "a", "b"), answer(81, "a", "b")], "line 2: question 81 is answered twice"),
        ([{"question_id": 81, "choices": [{"turns": ["a"]}]}], "question 81 needs two turns"),
        ([{"question_id": 81}], "line 1 is no answer of FastChat's form"),
    ],
)
def test_incomplete_answers_are_refused_before_anything_is_asked(
    rows: Rows, message: str, files: MTBenchFiles, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    bad = write(tmp_path / "bad.jsonl", rows)
    with pytest.raises(InputError, match=message):
        judge_turns(bad, files, judge, tmp_path / "out", advance=lambda _: None)
    assert server.bodies == []


def test_the_real_questions_and_prompts(
    fetched: Path, judge: Judge, server: JudgeServer, tmp_path: Path
) -> None:
    folder = fetched / "mt_bench"
    references = folder / "reference_answer_gpt-4.jsonl"
    files = MTBenchFiles(folder / "question.jsonl", folder / "judge_prompts.jsonl", references)
    all_answers = [answer(number, f"first {number}", f"second {number}") for number in range(81, 161)]
    server.says = rating_by_prompt
    judgments = judge_turns(
        write(tmp_path / "answers.jsonl", all_answers), files, judge, tmp_path / "out", advance=lambda _: None
    )
    assert len(server.bodies) == expected_usage(files, judge).requests == 160
    assert sum("Reference Answer" in body["messages"][1]["content"] for body in server.bodies) == 60
    score = score_judgments(judgments)
    assert (score.first_turn, score.second_turn, score.average) == (5.75, 5.75, 5.75)
    referenced = {"reasoning": 3, "math": 3, "coding": 3}
    assert score.categories == dict.fromkeys(score.categories, 7.4) | referenced
    assert len(score.categories) == 8


def rating_by_prompt(body: Body) -> str:
    return "[[3]]" if "Reference Answer" in body["messages"][1]["content"] else "[[7.4]]"


def judged(question: int, turn: int, score: float | None, **other: object) -> dict[str, Any]:
    return {
        "question_id": question,
        "turn": turn,
        "score": score,
        "judge": ["j", "single-v1"],
        "model": "m",
        **other,
    }


RATING = st.integers(1, 10).map(float)


@given(scores=st.lists(st.tuples(RATING, RATING), min_size=2, max_size=80))
def test_the_averages_are_fastchats(
    scores: list[tuple[float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [judged(81 + i, t + 1, pair[t]) for i, pair in enumerate(scores) for t in (0, 1)]
    path = write(tmp_path_factory.mktemp("judged") / "judgments.jsonl", rows)
    score = score_judgments(path)
    frame = pd.DataFrame(rows)  # as FastChat's show_result.py: means by turn and over all
    assert score.average == pytest.approx(frame["score"].mean())
    assert score.second_turn == pytest.approx(frame[frame["turn"] == 2]["score"].mean())
    by_question = frame.groupby("question_id")["score"].mean()
    assert ratings(path) == {(row["question_id"], row["turn"]): row["score"] for row in rows}
    # two turns each: the clustered error is that of the questions' means
    assert score.standard_error == pytest.approx(by_question.sem(), abs=1e-12)


def test_the_error_counts_questions_not_turns(tmp_path: Path) -> None:
    """Turns that always agree say no more than one of them: 160 independent ratings would claim less."""
    chance = np.random.default_rng(0).integers(1, 10, 80)
    rows = [judged(81 + i, turn, float(chance[i])) for i in range(80) for turn in (1, 2)]
    error = score_judgments(write(tmp_path / "judgments.jsonl", rows)).standard_error
    assert error == pytest.approx(float(np.std(chance, ddof=1)) / math.sqrt(80))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([judged(81, 1, 5), judged(81, 2, 5, judge=["k", "p"])], "m by j, m by k"),
        ([judged(81, 1, 5), judged(81, 2, 5, model="n")], "m by j, n by j"),
        ([judged(81, 1, 5), judged(81, 1, 6)], "turn 1 of 81 is judged twice"),
        ([judged(81, 1, 5)], "the first and of the second turn"),
        ([judged(80, 1, 5), judged(80, 2, 5)], "question 80: MT-Bench's are 81 to 160"),
        ([{"question_id": 81}], "line 1 is no judgment"),
    ],
)
def test_other_files_are_refused(rows: Rows, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        score_judgments(write(tmp_path / "judgments.jsonl", rows))
