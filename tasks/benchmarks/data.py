"""The benchmarks' data, from pinned revisions and checked by sha256. None of it is in this project's files.

    reference = fetch(REFERENCE)        AlpacaEval's 805 instructions with the reference's answers
    difficulty = fetch(DIFFICULTY)      what its length control needs
    files = mt_bench_files()            MT-Bench's questions, prompts and reference answers
    import_from(Path("/media/usb"))           the same from a folder, on a machine that reaches nothing

AlpacaEval's files come from its data set on the Hub, through the Hub's cache; MT-Bench's from
FastChat's repository (Apache-2.0). What is fetched or adopted lies in $EXPO_CACHE/data.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from tasks.core.errors import CorruptError, ExpoError, InputError, PermanentError, RetryableError
from tasks.stores.disk import cache_folder, sha256_of, whole_file
from tasks.stores.retry import is_retryable

__all__ = [
    "DIFFICULTY",
    "FILES",
    "PROMPTS",
    "QUESTIONS",
    "REFERENCE",
    "REFERENCES",
    "REPOSITORY",
    "REVISION",
    "DataFile",
    "MTBenchFiles",
    "cached",
    "fetch",
    "import_from",
    "mt_bench_files",
    "verified",
]

REPOSITORY = "tatsu-lab/alpaca_eval"
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
FASTCHAT = "https://raw.githubusercontent.com/lm-sys/FastChat/587d5cfa1609a43d192cedb8441cac3c17db105d"
FASTCHAT_DATA = f"{FASTCHAT}/fastchat/llm_judge/data"
TIMEOUT = 60  # seconds without a byte


class DataFile(NamedTuple):
    """A file, the sha256 (64 hex digits) that it must have, and its address.

    url  None: it lies in AlpacaEval's data set on the Hub, under its name
    """

    name: str
    sha256: str
    url: str | None = None

    @property
    def path(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / "data" / self.sha256[:12] / Path(self.name).name


class MTBenchFiles(NamedTuple):
    """FastChat's question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl."""

    questions: Path
    prompts: Path
    references: Path


def _of_fastchat(name: str, sha256: str) -> DataFile:
    return DataFile(name, sha256, f"{FASTCHAT_DATA}/{name}")


REFERENCE = DataFile(
    "alpaca_eval_gpt4_baseline.json", "83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4"
)
DIFFICULTY = DataFile("df_gamed.csv", "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d")
QUESTIONS = _of_fastchat(
    "mt_bench/question.jsonl", "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"
)
PROMPTS = _of_fastchat(
    "judge_prompts.jsonl", "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6"
)
REFERENCES = _of_fastchat(
    "mt_bench/reference_answer/gpt-4.jsonl",
    "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
)
FILES = (REFERENCE, DIFFICULTY, QUESTIONS, PROMPTS, REFERENCES)


def fetch(file: DataFile) -> Path:
    """The file on this machine's disk, downloaded if need be.

    Raises:
        CorruptError: its content is not what the pinned digest says.
        RetryableError: its server is busy or cannot be reached.
        PermanentError: offline, and the cache lacks it; or its server refuses.
    """
    if here := cached(file):
        return here
    try:
        return _from_hub(file) if file.url is None else _from_web(file, file.url)
    except CorruptError:
        raise
    except ExpoError as error:
        raise type(error)(f"{error}; {_by_hand(file)}") from error


def cached(file: DataFile) -> Path | None:
    """The file if it is on this machine already, None if it is not; nothing is downloaded.

    Raises:
        CorruptError: it is there, and its content is not what the pinned digest says.
    """
    if file.path.is_file():
        return verified(file.path, file)
    if file.url is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(REPOSITORY, file.name, repo_type="dataset", revision=REVISION)
    return verified(Path(path), file) if isinstance(path, str) else None


def import_from(folder: Path) -> tuple[DataFile, ...]:
    """Takes every data file that lies in a folder, whatever it is called there: the digest tells.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with copies of the data files")
    missing = {file.sha256: file for file in FILES if not file.path.is_file()}
    taken = []
    for path in _data_files(folder):
        if file := missing.pop(sha256_of(path), None):
            with whole_file(file.path) as part:
                shutil.copyfile(path, part)
            taken.append(file)
    return tuple(taken)


def mt_bench_files() -> MTBenchFiles:
    """MT-Bench's three files on this machine's disk; raises as `fetch`."""
    return MTBenchFiles(fetch(QUESTIONS), fetch(PROMPTS), fetch(REFERENCES))


def verified(path: Path, file: DataFile) -> Path:
    """The path, if its content is the pinned one.

    Raises:
        CorruptError: it is not.
    """
    digest = sha256_of(path)
    if digest != file.sha256:
        raise CorruptError(
            f"{path}: its sha256 is {digest}, not the pinned {file.sha256}; remove it, and {_by_hand(file)}"
        )
    return path


def _from_hub(file: DataFile) -> Path:
    from huggingface_hub import hf_hub_download

    from tasks.stores.hub_errors import hub_errors

    with hub_errors(f"{REPOSITORY}@{REVISION[:12]} {file.name}"):
        path = Path(hf_hub_download(REPOSITORY, file.name, repo_type="dataset", revision=REVISION))
    return verified(path, file)


def _from_web(file: DataFile, url: str) -> Path:
    try:
        with whole_file(file.path) as part:
            with urlopen(url, timeout=TIMEOUT) as answer, part.open("wb") as target:
                shutil.copyfileobj(answer, target)
            verified(part, file)
    except HTTPError as error:
        kind = RetryableError if is_retryable(error.code) else PermanentError
        raise kind(f"{url}: the server said {error.code} {error.reason}") from error
    except OSError as error:
        raise RetryableError(f"{url}: cannot be reached: {error}") from error
    return file.path


def _data_files(folder: Path) -> Iterator[Path]:
    suffixes = {Path(file.name).suffix for file in FILES}
    return (path for path in sorted(folder.rglob("*")) if path.suffix in suffixes and path.is_file())


def _by_hand(file: DataFile) -> str:
    if file.url is not None:
        return f"on a machine without internet bring {file.url} and say `expo data fetch --from FOLDER`"
    command = f"hf download {REPOSITORY} {file.name} --repo-type dataset --revision {REVISION}"
    return f"get it on a machine that reaches the Hub, and say `expo data fetch --from FOLDER`: {command}"
