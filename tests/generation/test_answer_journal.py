"""The journal: whatever a kill leaves of the file, continuing it ends in the same bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import RetryableError
from tasks.generation.answer_journal import (
    Answer,
    Batch,
    Header,
    Journal,
    journal_file,
    most_complete,
    read_batches,
)

HEADER = Header(job="4f" * 32, engine="vllm 0.32.0")
TEXTS = ["", "two\nlines\r\n", "\u2028 ünï \x00", '"}', "plain"]
BATCHES = [
    Batch(
        batch=number,
        seconds=number / 8,
        answers=tuple(Answer(output=t, tokens=len(t), finish_reason="stop", looping=False) for t in TEXTS),
    )
    for number in range(4)
]


def numbered(batches: list[Batch]) -> dict[int, Batch]:
    return {batch.batch: batch for batch in batches}


def write_all(path: Path) -> bytes:
    """Opens the journal, adds the batches that it lacks, and gives the file's bytes."""
    with Journal(path, HEADER) as journal:
        for batch in BATCHES[len(journal.batches) :]:
            journal.append(batch)
        assert journal.batches == numbered(BATCHES)
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_all(tmp_path_factory.mktemp("whole") / "answers.jsonl")


@given(data=st.data(), junk=st.sampled_from([b"", b"\x00" * 40, b"{}\n", b"junk\nmore"]))
def test_any_cut_resumes_to_the_same_bytes(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, junk: bytes
) -> None:
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "answers.jsonl"
    path.write_bytes(whole[:cut] + junk)
    assert write_all(path) == whole


def test_whole_batches_are_kept(whole: bytes, tmp_path: Path) -> None:
    """A cut inside the third batch must cost that batch only, not those before."""
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"".join(lines[:3]) + lines[3][:-1])
    with Journal(path, HEADER) as journal:
        assert journal.batches == numbered(BATCHES[:2])


@pytest.mark.parametrize("other", [{"job": "00" * 32}, {"engine": "vllm 0.33.0"}])
def test_another_jobs_journal_is_not_continued(whole: bytes, tmp_path: Path, other: dict[str, str]) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(whole)
    with Journal(path, HEADER.model_copy(update=other)) as journal:
        assert journal.batches == {}


def test_a_repeated_batch_counts_once(whole: bytes, tmp_path: Path) -> None:
    """Answers may not shift against their instructions."""
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"".join([*lines[:3], lines[2]]))
    with Journal(path, HEADER) as journal:
        assert journal.batches == numbered(BATCHES[:2])


def test_files_of_several_engines_are_one_journal(tmp_path: Path) -> None:
    """A line that is being written, and a file under another header, do not count."""
    for engine in (0, 1):
        with Journal(tmp_path / journal_file(engine), HEADER) as journal:
            for batch in BATCHES[engine::2]:
                journal.append(batch)
    other = HEADER.model_copy(update={"engine": "vllm 0.31.0"})
    with Journal(tmp_path / journal_file(2), other) as journal:
        journal.append(BATCHES[0])
    with (tmp_path / journal_file(1)).open("ab") as file:
        file.write(b'{"answers": [')
    assert read_batches(tmp_path) == {HEADER: numbered(BATCHES), other: numbered(BATCHES[:1])}
    assert most_complete(tmp_path, HEADER.job) == (HEADER, numbered(BATCHES))
    assert most_complete(tmp_path, "another job") is None


def test_two_writers_are_refused(tmp_path: Path) -> None:
    """A retry that starts while the first engine lives would interleave their lines."""
    path = tmp_path / "answers.jsonl"
    with Journal(path, HEADER), pytest.raises(RetryableError, match="another engine"):
        Journal(path, HEADER)
    Journal(path, HEADER).__exit__(None, None, None)
