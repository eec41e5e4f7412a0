"""The journal of a generation: answers on disk batch by batch, so that a kill costs one batch.

    {"engine": "vllm 0.32.0", "job": "4f0c…", "journal": 1}           the header: whose answers
    {"answers": [{"output": …}, …], "batch": 0, "seconds": 3.1}       one line a batch
    {"answers": [ …                                                   a torn line: cut off

A batch is one line, so it is whole exactly when its line ends. A journal under another
header (another job, another engine version) is never continued.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from tasks.errors import RetryableError
from tasks.values import Value, canonical_json

__all__ = ["Answer", "Batch", "Header", "Journal"]


class Header(Value):
    """Whose answers a journal holds: the job's fingerprint, and the engine's name and version."""

    job: str
    engine: str
    journal: int = 1


class Answer(Value):
    """One answer: its text, its length in tokens (end token included), why it ended, whether it loops."""

    output: str
    tokens: int
    finish_reason: str
    looping: bool


class Batch(Value):
    """Consecutive answers in the order of the instructions, and the seconds that they took."""

    batch: int
    seconds: float
    answers: tuple[Answer, ...]


class Journal:
    """An append-only file that one process at a time holds open."""

    def __init__(self, path: Path, header: Header) -> None:
        """Opens the journal, makes it if need be, and cuts off what is torn or of another header.

        Raises:
            RetryableError: another process is writing this journal.
        """
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RetryableError(f"{path}: another engine is writing here; wait for its end") from None
        self.batches = self._recover(canonical_json(header) + b"\n")

    def append(self, batch: Batch) -> None:
        """Adds a batch; when this returns it is on the disk."""
        self._write(canonical_json(batch) + b"\n")
        self.batches.append(batch)

    @property
    def answers(self) -> list[Answer]:
        """Every answer so far, in the order of the instructions."""
        return [answer for batch in self.batches for answer in batch.answers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _recover(self, header: bytes) -> list[Batch]:
        self._file.seek(0)
        if self._file.readline() != header:
            self._file.truncate(0)
            self._write(header)
            return []
        batches: list[Batch] = []
        whole = len(header)
        while batch := _read_batch(self._file.readline(), len(batches)):
            batches.append(batch)
            whole = self._file.tell()
        self._file.truncate(whole)
        return batches

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())


def _read_batch(line: bytes, number: int) -> Batch | None:
    """The batch of a line, None where the line is torn, damaged or out of its turn."""
    if not line.endswith(b"\n"):
        return None
    try:
        batch = Batch.model_validate_json(line)
    except ValidationError:
        return None
    return batch if batch.batch == number else None
