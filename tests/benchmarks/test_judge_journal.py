"""The journal: whatever is left of it after a kill is a whole beginning, and can be continued."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.judge_journal import Journal
from tasks.core.errors import RetryableError

ONE = Usage(requests=1, prompt_tokens=10)
ENTRIES = st.lists(st.tuples(st.sampled_from("abcde"), st.text(max_size=8)), max_size=6)


@pytest.mark.slow
@given(entries=ENTRIES, data=st.data())
def test_a_journal_cut_anywhere_is_continued(entries: list[tuple[str, str]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        ends = [0]
        with Journal(path) as journal:
            for key, text in entries:
                journal.add(key, {"text": text}, ONE)
                ends.append(path.stat().st_size)
        cut = data.draw(st.integers(0, ends[-1]))
        path.write_bytes(path.read_bytes()[:cut])
        whole = sum(end <= cut for end in ends) - 1
        with Journal(path) as journal:
            journal.add("new", {"text": "after the kill"}, ONE)
        with Journal(path) as journal:
            expected = dict(entries[:whole]) | {"new": "after the kill"}
            assert journal.usage.requests == whole + 1
            found = {key: journal.get(key) for key in [*"abcde", "new"]}
        assert {key: choice["text"] for key, choice in found.items() if choice} == expected


def test_a_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for key in "abc":
            journal.add(key, {"text": key}, ONE)
    path.write_bytes(path.read_bytes().replace(b'"b"', b"\0\0\0"))
    with Journal(path) as journal:
        assert [journal.get(key) for key in "abc"] == [{"text": "a"}, None, {"text": "c"}]


@given(
    st.binary(max_size=30) | st.sampled_from([b"[" * 99_999, b"3", b"[]"]),
    st.sampled_from(["key", "choice", "usage"]),
)
def test_any_line_is_an_entry_or_none(junk: bytes, field: str) -> None:
    """Whatever another program has written into the file: what is whole in it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path) as journal:
            journal.add("a", {"text": "a"}, ONE)
        entry = {"key": "b", "choice": {"text": "b"}, "usage": ONE.model_dump(), field: 3}
        with path.open("ab") as file:
            file.write(junk + b"\n" + json.dumps(entry).encode() + b"\n")
        with Journal(path) as journal:
            assert journal.get("a") == {"text": "a"} and journal.get("b") is None
            assert journal.usage == ONE


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal.jsonl"),
        pytest.raises(RetryableError, match="another process is judging here"),
    ):
        Journal(tmp_path / "journal.jsonl")
