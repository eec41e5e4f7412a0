"""The journal of a generation: answers on disk batch by batch, so that a kill costs one batch.

    {"engine": "vllm 0.32.0", "job": "4f0c…", …}                      the header: whose answers, made how
    {"answers": [{"output": …}, …], "batch": 0, "seconds": 3.1}       one line a batch
    {"answers": [ …                                                   a torn line: cut off

A batch is one line, so it is whole exactly when its line ends. Several engines that share a
generation have a file each (answers.jsonl, answers.1.jsonl, …), and together these are the journal.
A file under another header (another job, another engine version) is never continued.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field, ValidationError

from tasks.core.append_file import AppendFile
from tasks.core.values import Value, canonical_json

__all__ = ["Answer", "Batch", "Header", "Journal", "journal_file", "most_complete", "read_batches"]


class Header(Value):
    """Whose answers a journal holds, and how they were made.

    job                   the job's fingerprint
    engine                name and version
    chat_template_sha256  of the template's text; "" where an endpoint has its own
    stop_token_ids        the ids of the settings' stop tokens in this checkpoint's vocabulary
    first_prompt_ids      the exact tokens of the first prompt; empty for an endpoint
    """

    job: str
    engine: str
    chat_template_sha256: str = ""
    stop_token_ids: tuple[int, ...] = ()
    first_prompt_ids: tuple[int, ...] = ()
    journal: int = 2


class Answer(Value):
    """One answer: its text, its length in tokens (end token included), why it ended, whether it loops.

    failure  of an endpoint: why it gave no answer, "" where it did; `reply` is what came in its place
    """

    output: str
    tokens: int
    finish_reason: str
    looping: bool
    failure: str = Field(default="", exclude_if=lambda failure: not failure)
    reply: str = Field(default="", exclude_if=lambda reply: not reply)


class Batch(Value):
    """Consecutive answers, and the seconds that they took. Batches are numbered through all turns,
    first turns first."""

    batch: int
    seconds: float
    answers: tuple[Answer, ...]


def journal_file(engine: int) -> str:
    """The name of an engine's file."""
    return f"answers.{engine}.jsonl" if engine else "answers.jsonl"


def read_batches(folder: Path) -> dict[Header, dict[int, Batch]]:
    """Every whole batch of a folder's journal, by header and number. Others may be writing to it."""
    found: dict[Header, dict[int, Batch]] = {}
    for path in sorted(folder.glob("answers*.jsonl")):
        with path.open("rb") as file:
            first, *lines = file.read().split(b"\n")[:-1] or [b""]  # a torn last line is none
        header = _read_header(first)
        if header is not None:
            found.setdefault(header, {}).update((batch.batch, batch) for batch in _whole_batches(lines))
    return found


def most_complete(folder: Path, job: str) -> tuple[Header, dict[int, Batch]] | None:
    """The header and the batches of the job's journal; of several engine versions the one with the most."""
    found = [(header, batches) for header, batches in read_batches(folder).items() if header.job == job]
    return max(found, key=lambda journal: len(journal[1]), default=None)


class Journal:
    """One engine's append-only file, which one process at a time holds open."""

    def __init__(self, path: Path, header: Header) -> None:
        """Opens the file, makes it if need be, and cuts off what is torn or of another header.

        Raises:
            RetryableError: another process is writing this file.
        """
        self._file = AppendFile(path, busy="another engine is writing here")
        self.batches = self._recover(canonical_json(header))

    def append(self, batch: Batch) -> None:
        """Adds a batch; when this returns it is on the disk."""
        self._file.append(canonical_json(batch))
        self.batches[batch.batch] = batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _recover(self, header: bytes) -> dict[int, Batch]:
        first, *lines = self._file.lines or (b"",)
        if first != header:
            self._file.keep(0)
            self._file.append(header)
            return {}
        batches = _whole_batches(lines)
        self._file.keep(1 + len(batches))
        return {batch.batch: batch for batch in batches}


def _whole_batches(lines: Iterable[bytes]) -> list[Batch]:
    """Those before the first damaged line: later ones may have been made from what it held."""
    batches = []
    for line in lines:
        batch = _read_batch(line)
        if batch is None:
            break
        batches.append(batch)
    return batches


def _read_header(line: bytes) -> Header | None:
    try:
        return Header.model_validate_json(line)
    except ValidationError:
        return None


def _read_batch(line: bytes) -> Batch | None:
    """The batch of a line, None where the line is damaged."""
    try:
        return Batch.model_validate_json(line)
    except ValidationError:
        return None
