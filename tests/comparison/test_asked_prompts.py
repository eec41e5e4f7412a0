"""The prompts that a search refuses: of what a run asks, and of benchmarks whose data is here."""

import hashlib
import json
from pathlib import Path

import pytest

from tasks.benchmarks import gsm8k
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.own_prompts import register
from tasks.benchmarks.table import BENCHMARKS
from tasks.comparison.asked_prompts import asked_prompts
from tasks.core.errors import CorruptError
from tests.benchmarks.sums import SUMS

PROBLEM = {"question": "Ann has 2 pears and buys 3. How many has she?", "answer": "#### 5"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_what_is_asked_by_its_title(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "sums", "tests.benchmarks.sums")
    own, family = cache / "own.jsonl", cache / "family.json"
    own.write_text('{"prompt": "Sing."}\n{"question": "Dance?"}\n')
    family.write_text(json.dumps([{"instruction": "Hum.", "output": "hm"}]))
    name = register(own)
    found = asked_prompts([name, "sums", str(family), "sums"])
    title = f"own prompts {name.partition('@')[2]}"
    assert found == {title: ("Sing.", "Dance?"), "Ten sums": tuple(SUMS), str(family): ("Hum.",)}


def test_data_on_this_machine_is_refused_unasked_with_and_without_the_benchmarks_words(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked_prompts([]) == {}, "nothing is downloaded for it"
    content = json.dumps(PROBLEM).encode() + b"\n"
    file = DataFile("test.jsonl", hashlib.sha256(content).hexdigest(), "https://nowhere.invalid/test.jsonl")
    monkeypatch.setattr(gsm8k, "PROBLEMS", file)
    monkeypatch.setattr(type(gsm8k.BENCHMARK), "data_files", (file,))
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(content)
    worded = gsm8k.PROMPT.format(question=PROBLEM["question"])
    assert asked_prompts([]) == {"GSM8K (chat, no examples)": (worded, PROBLEM["question"])}
    file.path.write_bytes(b"other")
    with pytest.raises(CorruptError, match="not the pinned"):
        asked_prompts([])
