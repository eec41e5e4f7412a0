"""IFEval in small for the tests, with a sentence tokenizer that knows no word."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks import ifeval, lm_eval_tasks
from tasks.benchmarks.data import DataFile

__all__ = ["DOCUMENTS", "use_small_ifeval"]

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


def use_small_ifeval(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These documents are IFEval's, and `expo data fetch` has had them: the cache is `folder`/cache."""
    monkeypatch.setenv("EXPO_CACHE", str(folder / "cache"))
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))
    archive = folder / "punkt_tab.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
            packed.writestr(f"punkt_tab/english/{name}", "")
    for module, name, path in ((ifeval, "PROMPTS", prompts), (lm_eval_tasks, "PUNKT", archive)):
        file = DataFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "https://nowhere.invalid/")
        file.path.parent.mkdir(parents=True)
        file.path.write_bytes(path.read_bytes())
        monkeypatch.setattr(module, name, file)
