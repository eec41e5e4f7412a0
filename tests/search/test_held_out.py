"""Held-out prompts: read, refused where an evaluation set knows them, and split."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import InputError
from tasks.search.held_out import digest, known_evaluations, read_prompts, split, with_prompts

PROMPTS = tuple(f"Write a line about number {n}." for n in range(21))
# AlpacaEval 2.0's first instruction
EVALUATION = "What are the names of some famous actors that started their careers on Broadway?"


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "a"}\n\n{"instruction": "b"}\n"c"\n',
        '[{"question": "a"}, {"text": "b"}, "c"]',
        '{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c", "other": 1}',
    ],
)
def test_forms_of_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "prompts").write_text(content)
    assert read_prompts(tmp_path / "prompts") == ("a", "b", "c")


def test_a_line_separator_within_a_prompt_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text('{"prompt": "a\u2028b"}\n')
    assert read_prompts(tmp_path / "prompts") == ("a\u2028b",)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"answer": "a"}', '{"prompt": " "}', "3"])
def test_other_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "prompts").write_text(content)
    with pytest.raises(InputError, match="prompts"):
        read_prompts(tmp_path / "prompts")


def test_halves_are_disjoint_and_do_not_depend_on_the_order_or_on_repetitions() -> None:
    found = split(PROMPTS, {}, choosing=100, confirming=100)
    assert len(found.choosing) == 11 and len(found.confirming) == 10
    assert sorted(found.choosing + found.confirming) == sorted(PROMPTS)
    shuffled = [*PROMPTS, *(prompt.upper() for prompt in PROMPTS[:5])]
    random.Random(1).shuffle(shuffled)
    again = split(shuffled, {}, choosing=100, confirming=100)
    assert [digest(prompt) for prompt in again.choosing] == [digest(prompt) for prompt in found.choosing]
    assert split(PROMPTS, {}, choosing=4, confirming=3).choosing == found.choosing[:4]


@pytest.mark.parametrize(
    "disguise",
    [str, str.upper, lambda text: f"  {text.replace(' ', '  ')}\n", lambda text: text[:-1] + " ?!"],
)
def test_an_evaluation_prompt_is_refused_however_it_is_written(disguise: Callable[[str], str]) -> None:
    with pytest.raises(InputError, match=r"1 of the prompts belong to AlpacaEval 2\.0"):
        split([*PROMPTS, disguise(EVALUATION)], known_evaluations(), choosing=9, confirming=9)


def test_a_runs_own_evaluation_is_refused_too() -> None:
    own = {"the demo's evaluation": frozenset(map(digest, PROMPTS[:2]))}
    with pytest.raises(InputError, match="2 of the prompts belong to the demo's evaluation"):
        split(PROMPTS, own, choosing=9, confirming=9)


def test_what_a_run_asks_is_added_to_the_known_sets() -> None:
    found = with_prompts({"a": frozenset({digest("x")})}, {"a": ("y",), "b": ("z", "Z!")})
    assert found == {"a": {digest("x"), digest("y")}, "b": {digest("z")}}


def test_one_prompt_cannot_be_split() -> None:
    with pytest.raises(InputError, match="at least two"):
        split(["a", "A!"], {}, choosing=9, confirming=9)


def test_digests_are_those_of_the_benchmarks_files(data: Path) -> None:
    lines: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
        "MT-Bench": ("mt_bench/question.jsonl", lambda item: item["turns"][0]),
        "Arena-Hard v2": ("arena_hard_v2/question.jsonl", lambda item: item["prompt"]),
        "GSM8K (test)": ("gsm8k/test.jsonl", lambda item: item["question"]),
    }
    found = {
        "AlpacaEval 2.0": _digests(json.loads((data / "gpt4_1106_preview.json").read_text()), "instruction")
    }
    for title, (name, text) in lines.items():
        rows = [json.loads(line) for line in (data / name).read_text().split("\n") if line]
        found[title] = frozenset(digest(text(row)) for row in rows)
    known = known_evaluations()
    assert found == {title: known[title] for title in found}
    sizes = {title: len(known[title]) for title in known.keys() - found.keys()}
    assert sizes == {"IFEval": 541, "IFBench": 300}


def _digests(rows: list[dict[str, str]], field: str) -> frozenset[str]:
    return frozenset(digest(row[field]) for row in rows)
