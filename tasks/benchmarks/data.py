"""AlpacaEval's data: fetched from a pinned revision, checked by sha256, kept in the Hub's cache.

    reference = fetch(REFERENCE)        the 805 instructions with the reference's answers
    difficulty = fetch(DIFFICULTY)      what length control needs

Nothing of it is part of this project's files.
"""

from pathlib import Path
from typing import NamedTuple

from tasks.errors import CorruptError, ExpoError
from tasks.stores.source import sha256_of

__all__ = ["DIFFICULTY", "REFERENCE", "REPOSITORY", "REVISION", "DataFile", "cached", "fetch"]

REPOSITORY = "tatsu-lab/alpaca_eval"
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"


class DataFile(NamedTuple):
    """A file of the data set, and the sha256 (64 hex digits) that it must have."""

    name: str
    sha256: str


REFERENCE = DataFile(
    "alpaca_eval_gpt4_baseline.json", "83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4"
)
DIFFICULTY = DataFile("df_gamed.csv", "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d")


def fetch(file: DataFile) -> Path:
    """The file in the Hub's cache, downloaded if need be.

    Raises:
        CorruptError: its content is not what the pinned digest says.
        RetryableError: the Hub is busy or cannot be reached.
        PermanentError: offline, and the cache lacks it.
    """
    from huggingface_hub import hf_hub_download

    from tasks.stores.hub_errors import hub_errors

    where = f"{REPOSITORY}@{REVISION[:12]} {file.name}"
    try:
        with hub_errors(where):
            path = Path(hf_hub_download(REPOSITORY, file.name, repo_type="dataset", revision=REVISION))
    except ExpoError as error:
        raise type(error)(f"{error}; {_by_hand(file)}") from error
    return _verified(path, file)


def cached(file: DataFile) -> Path | None:
    """The file if it is in the cache already, None if it is not; nothing is downloaded.

    Raises:
        CorruptError: it is there, and its content is not what the pinned digest says.
    """
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(REPOSITORY, file.name, repo_type="dataset", revision=REVISION)
    return _verified(Path(path), file) if isinstance(path, str) else None


def _verified(path: Path, file: DataFile) -> Path:
    digest = sha256_of(path)
    if digest != file.sha256:
        raise CorruptError(
            f"{path}: its sha256 is {digest}, not the pinned {file.sha256}; delete it and {_by_hand(file)}"
        )
    return path


def _by_hand(file: DataFile) -> str:
    command = f"hf download {REPOSITORY} {file.name} --repo-type dataset --revision {REVISION}"
    return f"get it on a machine that reaches the Hub, and bring the cache (HF_HOME) here: {command}"
