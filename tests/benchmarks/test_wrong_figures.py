"""Inputs that once gave a wrong figure without a word: each ends in the right one, or in one clear line."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.benchmarks.alpaca_annotators import prompt_file
from tasks.benchmarks.alpaca_judge import _make_prompts, fill, load_package
from tasks.benchmarks.alpaca_score import item_preferences, preferences, score_annotations
from tasks.comparison.compare import compare
from tasks.core.errors import InputError, PermanentError
from tests.benchmarks.answers import ITEMS, annotation_rows, rows_of
from tests.servers.judge import JudgeServer

Rows = list[dict[str, Any]]
Judging = Callable[..., Path]


def write(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps(rows))
    return path


# ---- templates


TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["{output_1}", "{output_2}", "{instruction}", "<|im_end|>", "\n", "{", "}", "\\1", "ordinary"]
    ),
    max_size=8,
).map("".join)


@given(instruction=TEXTS, first=TEXTS, second=TEXTS)
@settings(max_examples=200)
def test_the_judge_sees_each_text_whole_and_once(instruction: str, first: str, second: str) -> None:
    template = prompt_file().read_text()
    row = {"instruction": instruction, "output_1": first, "output_2": second}
    (prompt,), _ = _make_prompts(pd.DataFrame([row]), template)
    parts = [f'"""{{{name}}}"""' for name in row]
    between = template
    expected = ""
    for part, text in zip(parts, row.values(), strict=True):
        before, _, between = between.partition(part)
        expected += f'{before}"""{text}"""'
    assert prompt == expected + between


def test_ordinary_texts_give_the_packages_own_prompts() -> None:
    load_package()
    from alpaca_eval import utils

    assert utils.make_prompts is _make_prompts
    template = prompt_file().read_text()
    frame = pd.DataFrame(annotation_rows())[["instruction", "output_1", "output_2"]]
    by_the_package = []
    for row in frame.to_dict("records"):
        prompt = template
        for name in ("instruction", "output_1", "output_2"):
            prompt = prompt.replace(f"{{{name}}}", row[name], 1)
        by_the_package.append(prompt)
    assert _make_prompts(frame, template)[0] == by_the_package


def test_a_name_in_a_text_is_not_filled() -> None:
    assert fill("{a} and {b}", {"a": "{b}", "b": "{a}"}) == "{b} and {a}"


def test_an_answer_with_a_placeholder_wins_nothing(judging: Judging, server: JudgeServer) -> None:
    judging(["{output_1} {output_2}"] * 3, ["the reference's words"] * 3)
    for body in server.bodies:
        asked = body["messages"][1]["content"]
        assert asked.count("the reference's words") == 1 and asked.count("{output_1} {output_2}") == 1


# ---- one population


def test_two_files_are_compared_over_what_both_have(tmp_path: Path) -> None:
    """Every figure of the table is of the shared items, so the difference is that of the two scores."""
    before, after = annotation_rows("a"), annotation_rows("b", 0.2)[:-1]
    after[3]["preference"] = None
    found = compare(write(tmp_path / "a.json", before), write(tmp_path / "b.json", after), min_judged=0.9)
    first, second = found.scores
    verdict = found.verdict
    assert (
        verdict.expo.score - verdict.original.score
        == pytest.approx(verdict.difference.mean)
        == pytest.approx(20)
    )
    assert verdict.original.score == pytest.approx(first.metrics().score)
    assert (verdict.n_judged, verdict.n_failed) == (38, 2)
    assert second.metrics().score - first.metrics().score == pytest.approx(20)


def test_files_about_other_items_are_not_compared(tmp_path: Path) -> None:
    """Half of the items shared: the sign of the difference would hang on which of them are counted."""
    few = annotation_rows("b")[: ITEMS // 2]
    with pytest.raises(
        PermanentError, match="20 of 40 items are judged in all of them, and a verdict needs 95%"
    ):
        compare(write(tmp_path / "a.json", annotation_rows("a")), write(tmp_path / "b.json", few))


@pytest.mark.parametrize("mass", [(0.2, 0.2, 0.6), (1e-8, 1e-8, 0.9)])
def test_a_judge_that_says_something_else_has_not_judged(
    mass: tuple[float, float, float], judging: Judging, server: JudgeServer
) -> None:
    top = [
        {"token": token, "logprob": math.log(p), "bytes": None}
        for token, p in zip(("m", "M", "Sure"), mass, strict=True)
    ]
    reply = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": "Sure"},
        "logprobs": {
            "content": [{"token": "Sure", "logprob": top[2]["logprob"], "bytes": None, "top_logprobs": top}]
        },
    }
    server.choices = {"question 2": reply}
    rows = rows_of(judging(["a longer answer"] * 30, ["short"] * 30))
    assert [row["preference"] is None for row in rows] == [index == 2 for index in range(30)]


# ---- files


def changed(**fields: Any) -> Rows:  # noqa: ANN401
    rows = annotation_rows()
    rows[5] |= fields
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(preference=0), r"item 5 has the preference '0'.*numbers from 1"),
        (changed(preference=3), "item 5 has the preference '3'"),
        (changed(preference=2.0000001), "item 5 has the preference '2.0000001'"),
        (changed(preference=0.4), "item 5 has the preference '0.4'"),
        (changed(preference=False), "item 5 has the preference 'False'"),
        (changed(preference=True), "item 5 has the preference 'True'"),
        (changed(preference="1.5"), "item 5 has the preference '1.5'"),
        (changed(preference=10**4000), "item 5 has the preference '1000"),
        (changed(preference=[1]), "item 5 has the preference"),
        (changed(generator_2="another"), "answers of another and model"),
        (changed(generator_1="another"), "references of another and reference"),
        (changed(annotator="another"), "judged by a judge and another"),
        (changed(instruction="question 4"), "item 5 has the same instruction as item 4"),
        (changed(output_2=None), "item 5 has no text in 'output_2'"),
        (
            [{key: row[key] for key in row if key != "preference"} for row in annotation_rows()],
            "item 0 has no 'preference'",
        ),
        (
            [{key: row[key] for key in row if key != "annotator"} for row in annotation_rows()[:1]]
            + annotation_rows()[1:],
            "judged by",
        ),
    ],
)
def test_an_annotation_that_is_none_is_named(rows: Rows, message: str, tmp_path: Path) -> None:
    file = write(tmp_path / "annotations.json", rows)
    for read in (score_annotations, item_preferences):
        with pytest.raises(InputError, match=message) as raised:
            read(file)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"instruction": "caf\xe9"}]', "line 1: byte 0xe9 is not UTF-8"),
        (b'[{"preference": 2, "preference": 1}]', "an object has 'preference' twice"),
        (b"[" + b"9" * 5000 + b"]", "cannot be read as JSON"),
        (b"{}", "not a list of items"),
        (b"", "cannot be read as JSON"),
        (b"[1]", "item 0 has no text"),
    ],
)
def test_a_file_that_is_none_ends_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        score_annotations(file)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=message):
        compare(file, file)


def test_a_byte_order_mark_other_fields_and_another_order_change_nothing(tmp_path: Path) -> None:
    plain = score_annotations(write(tmp_path / "plain.json", annotation_rows()))
    rows = [{**row, "time_per_example": 0.5, "note": {"a": [1]}} for row in reversed(annotation_rows())]
    (tmp_path / "other.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(rows).encode())
    found = score_annotations(tmp_path / "other.json")
    assert found.win_rate == pytest.approx(plain.win_rate) and found.n_total == plain.n_total == ITEMS


def test_half_a_pair_and_nul_become_the_replacement_character(tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    rows = annotation_rows()
    rows[0] |= {"instruction": "half \ud83d", "output_2": "nul \x00"}
    file.write_text(json.dumps(rows))
    assert "half \ufffd" in preferences(file)
    assert score_annotations(file).n_total == ITEMS


def test_files_that_do_not_say_who_judged_are_not_compared(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "annotator"} for row in annotation_rows()]
    file, other = write(tmp_path / "a.json", rows), write(tmp_path / "b.json", rows)
    assert score_annotations(file).judge == "unknown judge"
    with pytest.raises(InputError, match="does not say who judged"):
        compare(file, other)


def test_files_of_two_references_are_not_compared(tmp_path: Path) -> None:
    other = [{**row, "generator_1": "another"} for row in annotation_rows("b")]
    with pytest.raises(InputError, match="judged against two references, reference and another"):
        compare(write(tmp_path / "a.json", annotation_rows("a")), write(tmp_path / "b.json", other))


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([])
)


@given(
    st.lists(st.dictionaries(st.sampled_from(sorted(annotation_rows()[0])), VALUES, max_size=7), max_size=4)
)
def test_any_annotation_file_has_figures_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: Rows
) -> None:
    rows = [{**row, **change} for row, change in zip(annotation_rows(), changes, strict=False)]
    rows += annotation_rows()[len(rows) :]
    file = write(tmp_path_factory.mktemp("any") / "annotations.json", rows)
    try:
        shares = item_preferences(file)
    except InputError as error:
        assert str(file) in str(error)
        return
    assert all(share is None or 0 <= share <= 1 for share in shares.values())
    with suppress(PermanentError):  # too few judgments
        score = score_annotations(file)
        assert 0 <= score.win_rate <= 100 and score.n_total + score.n_failed == ITEMS
        assert sum(score.not_judged.values()) == score.n_failed
        assert "NaN" not in score.model_dump_json()
