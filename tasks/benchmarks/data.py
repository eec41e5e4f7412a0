"""The benchmarks' data, checked by sha256. Nothing of it is part of this project's files.

    reference = fetch(REFERENCE)        AlpacaEval's 805 instructions with the reference's answers
    difficulty = fetch(DIFFICULTY)      what its length control needs
    files = mt_bench_files(folder)      MT-Bench's questions, prompts and reference answers

AlpacaEval's files come from a pinned revision and are kept in the Hub's cache. MT-Bench's lie in
FastChat's repository (Apache-2.0), of which the user gives the folder fastchat/llm_judge/data.
"""

from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.mt_bench import MTBenchFiles
from tasks.errors import CorruptError, ExpoError, InputError
from tasks.stores.source import sha256_of

__all__ = [
    "DIFFICULTY",
    "REFERENCE",
    "REPOSITORY",
    "REVISION",
    "DataFile",
    "cached",
    "fetch",
    "mt_bench_files",
]

REPOSITORY = "tatsu-lab/alpaca_eval"
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
FASTCHAT = "copy fastchat/llm_judge/data from github.com/lm-sys/FastChat"


class DataFile(NamedTuple):
    """A file of the data set, and the sha256 (64 hex digits) that it must have."""

    name: str
    sha256: str


REFERENCE = DataFile(
    "alpaca_eval_gpt4_baseline.json", "83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4"
)
DIFFICULTY = DataFile("df_gamed.csv", "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d")
QUESTIONS = DataFile(
    "mt_bench/question.jsonl", "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"
)
PROMPTS = DataFile("judge_prompts.jsonl", "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6")
REFERENCES = DataFile(
    "mt_bench/reference_answer/gpt-4.jsonl",
    "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
)


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
    return _verified(path, file, _by_hand(file))


def cached(file: DataFile) -> Path | None:
    """The file if it is in the cache already, None if it is not; nothing is downloaded.

    Raises:
        CorruptError: it is there, and its content is not what the pinned digest says.
    """
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(REPOSITORY, file.name, repo_type="dataset", revision=REVISION)
    return _verified(Path(path), file, _by_hand(file)) if isinstance(path, str) else None


def mt_bench_files(folder: Path) -> MTBenchFiles:
    """MT-Bench's files in a copy of FastChat's folder fastchat/llm_judge/data.

    Raises:
        InputError: one is not there.
        CorruptError: one is of another version than the published figures were made with.
    """
    paths = []
    for file in (QUESTIONS, PROMPTS, REFERENCES):
        if not (folder / file.name).is_file():
            raise InputError(f"{folder}: no {file.name}; {FASTCHAT}")
        paths.append(_verified(folder / file.name, file, FASTCHAT))
    return MTBenchFiles(*paths)


def _verified(path: Path, file: DataFile, way_out: str) -> Path:
    digest = sha256_of(path)
    if digest != file.sha256:
        raise CorruptError(f"{path}: its sha256 is {digest}, not the pinned {file.sha256}; {way_out}")
    return path


def _by_hand(file: DataFile) -> str:
    command = f"hf download {REPOSITORY} {file.name} --repo-type dataset --revision {REVISION}"
    return f"get it on a machine that reaches the Hub, and bring the cache (HF_HOME) here: {command}"
