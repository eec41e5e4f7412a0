"""The pinned data: from the cache when it is there, never another content, a way out when it is not."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tasks.benchmarks.data import REFERENCE, REPOSITORY, REVISION, DataFile, cached, fetch, mt_bench_files
from tasks.errors import CorruptError, InputError, PermanentError
from tasks.stores.source import sha256_of

CONTENT = b"a data file"
FILE = DataFile("file.csv", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set's folder in an empty cache of the Hub, offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / f"datasets--{REPOSITORY.replace('/', '--')}" / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


def test_a_cached_file_needs_no_network(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT)
    assert fetch(FILE) == cached(FILE) == snapshot / FILE.name


def test_a_changed_file_is_refused(snapshot: Path) -> None:
    (snapshot / FILE.name).write_bytes(CONTENT + b"!")
    for get in (fetch, cached):
        with pytest.raises(CorruptError, match=f"not the pinned {FILE.sha256}"):
            get(FILE)


def test_offline_without_it_the_error_says_how_to_get_it(snapshot: Path) -> None:
    assert cached(FILE) is None
    with pytest.raises(PermanentError, match=f"hf download {REPOSITORY} file.csv --repo-type dataset"):
        fetch(FILE)


def test_the_pinned_digest_is_that_of_the_real_reference(data: Path) -> None:
    assert sha256_of(data / "gpt4_1106_preview.json") == REFERENCE.sha256


def test_fastchats_folder_gives_mt_benchs_files(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mt_bench/reference_answer").mkdir(parents=True)
    for name, source in (
        ("mt_bench/question.jsonl", "question.jsonl"),
        ("judge_prompts.jsonl", "judge_prompts.jsonl"),
        ("mt_bench/reference_answer/gpt-4.jsonl", "reference_answer_gpt-4.jsonl"),
    ):
        with pytest.raises(InputError, match=f"no {name}; copy fastchat/llm_judge/data"):
            mt_bench_files(tmp_path)
        shutil.copy(data / "mt_bench" / source, tmp_path / name)
    assert mt_bench_files(tmp_path).questions == tmp_path / "mt_bench/question.jsonl"
    with (tmp_path / "judge_prompts.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(CorruptError, match=r"judge_prompts\.jsonl: its sha256 is"):
        mt_bench_files(tmp_path)
