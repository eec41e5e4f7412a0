"""IFEval and IFBench in small for the tests, with nltk's files almost empty."""

import hashlib
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks.benchmarks import ifbench, ifeval, nltk_files
from tasks.benchmarks.data import DataFile

__all__ = ["DOCUMENTS", "IFBENCH", "use_small_ifbench", "use_small_ifeval"]

DOCUMENTS: list[dict[str, Any]] = [
    {
        "key": 1000,
        "prompt": "Say hello. Use no comma.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    },
    {
        "key": 1001,
        "prompt": "Name a fruit, in lower case, and use the word pear.",
        "instruction_id_list": ["change_case:english_lowercase", "keywords:existence"],
        "kwargs": [{}, {"keywords": ["pear"]}],
    },
    {
        "key": 1005,
        "prompt": "Tell a story of two sentences or more.",
        "instruction_id_list": ["length_constraints:number_sentences"],
        "kwargs": [{"relation": "at least", "num_sentences": 2}],
    },
]

# in the data set's form: every argument of any checker is there, and null where another checker takes it
IFBENCH: list[dict[str, Any]] = [
    {
        "key": "0",
        "prompt": "Describe a farm with exactly 2 numbers.",
        "instruction_id_list": ["count:numbers"],
        "kwargs": [{"N": 2, "percentage": None, "small_n": None}],
    },
    {
        "key": "1",
        "prompt": "Name a fruit. Start with a verb, and use at most half stop words.",
        "instruction_id_list": ["words:start_verb", "ratio:stop_words"],
        "kwargs": [{"percentage": None}, {"percentage": 50}],
    },
    {
        "key": "286",
        "prompt": "Copy words 0 to 2 of: the walls are solid",
        "instruction_id_list": ["repeat:repeat_span"],
        "kwargs": [{"n_start": 0, "n_end": 2, "prompt_to_repeat": "the walls are solid"}],
    },
    {
        "key": "299",
        "prompt": "Write without any whitespace.",
        "instruction_id_list": ["format:no_whitespace"],
        "kwargs": [{"N": None}],
    },
]
_TAGGER = "averaged_perceptron_tagger_eng"
_NLTK: dict[str, dict[str, str]] = {
    "PUNKT": {
        f"punkt_tab/english/{name}": ""
        for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab")
    },
    "TAGGER": {
        f"{_TAGGER}/{_TAGGER}.weights.json": "{}",
        f"{_TAGGER}/{_TAGGER}.tagdict.json": json.dumps({"Eat": "VB", "Pears": "NNS"}),
        f"{_TAGGER}/{_TAGGER}.classes.json": json.dumps(["NN", "NNS", "VB"]),
    },
    "STOPWORDS": {"stopwords/english": "a\nthe\nof\n", "stopwords/french": "le\n"},
}


def use_small_ifeval(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These documents are IFEval's, and `expo data fetch` has had them: the cache is `folder`/cache."""
    monkeypatch.setenv("EXPO_CACHE", str(folder / "cache"))
    _use_prompts(ifeval, DOCUMENTS, folder, monkeypatch)
    _use_nltk_file("PUNKT", folder, monkeypatch)


def use_small_ifbench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of IFBench."""
    monkeypatch.setenv("EXPO_CACHE", str(folder / "cache"))
    _use_prompts(ifbench, IFBENCH, folder, monkeypatch)
    for name in _NLTK:
        _use_nltk_file(name, folder, monkeypatch)


def _use_prompts(
    module: ModuleType, documents: list[dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    monkeypatch.setattr(module, "PROMPTS", _cached(path))


def _use_nltk_file(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = getattr(nltk_files, name)
    path = folder / pinned.file.name
    with zipfile.ZipFile(path, "w") as packed:
        for entry, content in _NLTK[name].items():
            packed.writestr(entry, content)
    monkeypatch.setattr(nltk_files, name, pinned._replace(file=_cached(path)))


def _cached(path: Path) -> DataFile:
    """A file that is pinned by its content, and is in the cache."""
    file = DataFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "https://nowhere.invalid/")
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(path.read_bytes())
    return file
