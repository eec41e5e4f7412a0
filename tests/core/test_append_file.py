"""Lines that only grow: what is torn goes, what was appended is there, one writer at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.append_file import AppendFile
from tasks.core.errors import RetryableError
from tests.waiting import wait_until

LINES = st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=5)


@given(lines=LINES, torn=st.binary(max_size=20).filter(lambda line: b"\n" not in line))
def test_whole_lines_outlive_a_torn_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("append") / "journal"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)
    with AppendFile(path, busy="busy") as file:
        assert file.lines == tuple(lines)
        file.append(b"next")
    assert path.read_bytes() == b"".join(line + b"\n" for line in [*lines, b"next"])


def test_kept_lines_are_followed_by_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"one\ntwo\nthree\n")
    with AppendFile(path, busy="busy") as file:
        file.keep(1)
        file.append(b"four")
    assert path.read_bytes() == b"one\nfour\n"


def test_lines_of_many_threads_share_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is busy with the first, the other threads' lines gather, and go to it at once."""
    path, lines, flushed = tmp_path / "journal", [b"%d" % n for n in range(8)], list[int]()
    flush = os.fsync

    def slow_flush(descriptor: int) -> None:
        if not flushed:
            wait_until(lambda: path.read_bytes().count(b"\n") == len(lines), "all lines in the file")
        flush(descriptor)
        flushed.append(path.read_bytes().count(b"\n"))

    monkeypatch.setattr(os, "fsync", slow_flush)
    with AppendFile(path, busy="busy") as file, ThreadPoolExecutor(len(lines)) as pool:
        list(pool.map(file.append, lines))
    assert len(flushed) <= 2, "one flush for the first line, one for all that came meanwhile"
    assert sorted(path.read_bytes().split()) == lines


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        AppendFile(tmp_path / "journal", busy="busy"),
        pytest.raises(RetryableError, match=r"journal: another writes; wait for its end"),
    ):
        AppendFile(tmp_path / "journal", busy="another writes")
    AppendFile(tmp_path / "journal", busy="busy").close()
