"""The journal: whatever is left of it after a kill is a whole beginning, and can be continued."""

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


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal.jsonl"),
        pytest.raises(RetryableError, match="another process is judging here"),
    ):
        Journal(tmp_path / "journal.jsonl")
