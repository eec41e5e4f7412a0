"""The default prompts: from a parquet file with the pinned digest, without those of an evaluation."""

from pathlib import Path

import pandas
import pytest

from tasks.benchmarks.data import import_from
from tasks.core.errors import PermanentError
from tasks.search.held_out import digest, known_evaluations, split
from tasks.search.ultrafeedback import PROMPTS, ultrafeedback_prompts
from tasks.stores.disk import sha256_of

ASKED = "What are the names of some famous actors that started their careers on Broadway?"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache"))


def test_prompts_of_an_evaluation_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    rows = {"prompt": ["Name a fish.", ASKED, " ", "Name a bird."], "chosen": ["a", "b", "c", "d"]}
    pandas.DataFrame(rows).to_parquet(folder / "copy.parquet")
    file = PROMPTS._replace(sha256=sha256_of(folder / "copy.parquet"))
    monkeypatch.setattr("tasks.search.ultrafeedback.PROMPTS", file)
    assert import_from(folder, [file]) == (file,)
    found = ultrafeedback_prompts(known_evaluations())
    assert found == ("Name a fish.", "Name a bird.")
    assert digest(ASKED) not in {digest(prompt) for prompt in found}
    split(found, known_evaluations(), choosing=1, confirming=1)


def test_offline_it_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PermanentError, match=r"ultrafeedback_binarized"):
        ultrafeedback_prompts({})
