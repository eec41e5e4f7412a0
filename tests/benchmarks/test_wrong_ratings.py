"""MT-Bench ratings: of what a judgment is read, and files of them that are refused."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.benchmarks.mt_bench_judge import rating_of
from tasks.benchmarks.mt_bench_score import ratings, score_judgments
from tasks.core.errors import InputError, PermanentError

Rows = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("judgment", "rating"),
    [
        ("Rating: [[7]]", 7),
        ("[[1]]", 1),
        ("[[10]]", 10),
        ("[6.5]", 6.5),
        ("[[0]]", -1),
        ("[[85]]", -1),
        ("as in [2023]", -1),
        ("arr[0] is read", -1),
        (f"[[{'9' * 400}]]", -1),
        ("<think>[[2]] or [[3]]?</think>Rating: [[8]]", 8),
        ("so [[2]]</think>Rating: [[8]]", 8),
        ("<think>[[2]] and no end", -1),
        ("", -1),
    ],
)
def test_ratings_are_from_1_to_10_and_not_of_a_thought(judgment: str, rating: float) -> None:
    assert rating_of(judgment) == rating


@given(st.text(alphabet="[]0123456789.<>/think \n", max_size=80))
def test_any_judgment_has_a_rating_or_none(judgment: str) -> None:
    rating = rating_of(judgment)
    assert rating == -1 or 1 <= rating <= 10


def judgments(**fields: Any) -> Rows:  # noqa: ANN401
    rows: Rows = [
        {"question_id": question, "turn": turn, "score": 5, "judge": ["gpt-4", "single-v1"], "model": "m"}
        for question in range(81, 91)
        for turn in (1, 2)
    ]
    rows[3] |= fields
    return rows


def write_lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": 11}, "line 4: score '11'; MT-Bench's are numbers from 1 to 10"),
        ({"score": 0}, "line 4: score '0'"),
        ({"score": True}, "line 4: score 'True'"),
        ({"score": "7"}, "line 4: score '7'"),
        ({"score": float("nan")}, "line 4: score 'nan'"),
        ({"turn": 3}, "line 4: turn 3"),
        ({"turn": "2"}, "line 4 is no judgment"),
        ({"question_id": None}, "line 4 is no judgment"),
        ({"judge": None}, "line 4 is no judgment of FastChat's form: it does not say who judged"),
        ({"judge": ["claude", "single-v1"]}, "give a file of one model by one judge"),
        ({"model": "another"}, "give a file of one model by one judge"),
        ({"question_id": 81, "turn": 1}, "line 4: turn 1 of 81 is judged twice"),
    ],
)
def test_a_judgment_that_is_none_is_named(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "judgments.jsonl", judgments(**fields))
    for read in (score_judgments, ratings):
        with pytest.raises(InputError, match=message):
            read(file)


def test_a_judge_as_text_and_a_turn_without_a_rating_are_read(tmp_path: Path) -> None:
    rows = [{**row, "judge": "gpt-4"} for row in judgments(score=-1)]
    score = score_judgments(write_lines(tmp_path / "judgments.jsonl", rows))
    assert (score.judge, score.n_total, score.n_unparsed, score.average) == ("gpt-4", 19, 1, 5)


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([])
)


@pytest.mark.slow
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["question_id", "turn", "score", "judge", "model", "no_judgment"]),
            VALUES | st.sampled_from([-1, 1, 2, 10, 81, 160, "gpt-4", ["gpt-4"]]),
            max_size=6,
        ),
        max_size=4,
    )
)
def test_any_file_of_ratings_has_figures_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: Rows
) -> None:
    rows = [{**row, **change} for row, change in zip(judgments(), changes, strict=False)]
    rows += judgments()[len(rows) :]
    file = write_lines(tmp_path_factory.mktemp("any") / "judgments.jsonl", rows)
    with suppress(InputError, PermanentError):
        score = score_judgments(file)
        assert 1 <= score.average <= 10 and "NaN" not in score.model_dump_json()
        assert score.n_total + sum(score.not_judged.values()) == len(rows)
