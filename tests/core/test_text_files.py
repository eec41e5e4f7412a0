"""Where text enters: whatever the bytes are, clean text or one line that says what is wrong and where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.benchmarks.alpaca_files import read_annotations, read_answers
from tasks.benchmarks.mt_bench_judge import read_turns
from tasks.benchmarks.mt_bench_score import ratings
from tasks.core.errors import ExpoError, InputError
from tasks.core.families import load_registry
from tasks.core.text_files import UNCLEAN, clean_text, one_line, printable
from tasks.generation.questions import read_questions
from tasks.search.held_out import read_prompts

Reader = Callable[[Path], Any]

INSTRUCTION = {"instruction": "say é", "output": "one", "generator": "reference", "dataset": "d"}
ANNOTATION = {"instruction": "q", "output_1": "a", "output_2": "b", "preference": 1.5, "annotator": "j"}
QUESTION = {"question_id": 81, "category": "math", "turns": ["One?", "Two?"]}
TURNS = {"question_id": 81, "model_id": "m", "choices": [{"index": 0, "turns": ["a", "b"]}]}
RATING = {"question_id": 81, "turn": 1, "score": 7, "judge": ["gpt-4", "single-v1"], "model": "m"}
FAMILY = (
    b"small: {group: experimental, aligned: org/a, sft: org/b, alpha: 0.3, alpha_source: s, "
    b"architecture: llama}\n"
)
READERS: dict[str, tuple[Reader, bytes]] = {
    "instructions": (lambda path: read_questions(path, "instructions"), json.dumps([INSTRUCTION]).encode()),
    "dialogues": (lambda path: read_questions(path, "dialogues"), json.dumps(QUESTION).encode()),
    "prompts": (read_prompts, b'{"prompt": "a"}\n"b"\n'),
    "list of prompts": (read_prompts, b'["a", {"text": "b"}]'),
    "answers": (read_answers, json.dumps([INSTRUCTION]).encode()),
    "annotations": (read_annotations, json.dumps([ANNOTATION]).encode()),
    "turns": (read_turns, json.dumps(TURNS).encode()),
    "ratings": (ratings, json.dumps(RATING).encode()),
    "families": (lambda path: load_registry(over=path), FAMILY),
}
DEEP = b"[" * 100_000


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        DEEP,
        b"{" * 500,
        b'{"a": ' * 3000,
        b"\xff\xfe[\x00]",
        b'[{"instruction": "caf\xe9"}]',
        b"\x00",
        b"9" * 5000,
    ],
    ids=["empty", "deep list", "deep", "deep object", "UTF-16", "Latin-1", "NUL", "digits"],
)
def test_a_file_that_is_none_ends_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if name == "families" and not content:
        return  # no entries are an empty mapping's worth
    with pytest.raises(InputError) as raised:
        READERS[name][0](path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 1000


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_and_a_folder_are_named(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            READERS[name][0](path)


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_content(name: str, tmp_path: Path) -> None:
    read, content = READERS[name]
    path = tmp_path / "file"
    path.write_bytes(content)
    plain = read(path)
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert read(path) == plain


@pytest.mark.parametrize(
    ("name", "field"), [("instructions", "say é"), ("dialogues", "One?"), ("prompts", "a")]
)
def test_half_a_pair_and_nul_are_replaced_where_text_enters(name: str, field: str, tmp_path: Path) -> None:
    read, content = READERS[name]
    path = tmp_path / "file"
    text = content.decode().replace(json.dumps(field)[1:-1], "x\\ud83d\\u0000y", 1)
    path.write_text(text)
    found = repr(read(path))
    assert "x\ufffd\ufffdy" in found and not UNCLEAN.search(found)
    found.encode()


def test_a_line_separator_in_a_question_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "question.jsonl"
    path.write_text(json.dumps({**QUESTION, "turns": ["a\u2028b", "c"]}, ensure_ascii=False) + "\n")
    assert read_questions(path, "dialogues")[0].turns == ("a\u2028b", "c")


PIECES = st.sampled_from(
    [
        b"\\ud800",
        b"\\u0000",
        b"\xef\xbb\xbf",
        b"\xff",
        b"NaN",
        b"1e999",
        b"-1",
        b"null",
        b"[[]]",
        b"{}",
        b'"',
        b",",
        b"\n",
    ]
)


@given(name=st.sampled_from(sorted(READERS)), data=st.data())
def test_changed_bytes_are_read_or_refused_in_one_line(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Clean text, or an ExpoError that names the file; never another exception."""
    read, content = READERS[name]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed)))
        changed[place : place + data.draw(st.integers(0, 6))] = data.draw(PIECES | st.binary(max_size=3))
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(changed)
    try:
        found = read(path)
    except ExpoError as error:
        assert isinstance(error, InputError) and str(path) in str(error) and "\n" not in str(error)
        return
    if name != "families":
        repr(found).encode()


@given(st.text())
@example("\x1b[31mred\x1b[0m\x9b2J\u202egnirts\r\n\x00\ud800")
def test_a_name_is_one_line_that_moves_no_cursor(text: str) -> None:
    name, shown = one_line(text), printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e\u2066" for c in name)
    assert not any(c in shown for c in "\x1b\x9b\r\u202e\x00")
    assert one_line(name) == name and shown.count("\n") == text.count("\n")
    name.encode()


def test_ordinary_names_and_texts_stay_as_they_are() -> None:
    for text in ("zephyr-7b-beta", "学 é 🙂 a b", "tab\tand\nline"):
        assert printable(text) == clean_text(text) == text
    assert one_line("a\tb\n c") == "a b c"
