"""The stand-ins have the quirks that they are there for, and the same bytes every time."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.core.errors import PermanentError
from tasks.core.families import find_family, names
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source
from tasks.weights.checkpoint import read_checkpoint
from tests.servers.hub import use_in_this_process
from tests.zoo.serve import TOKEN, serve_zoo
from tests.zoo.tiny_families import SPECS
from tests.zoo.write import write_zoo


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_zoo(tmp_path_factory.mktemp("zoo"))


def test_every_family_of_the_registry_is_there() -> None:
    assert tuple(SPECS) == names("published", "experimental")


@pytest.mark.slow
def test_small_and_the_same_in_another_process(folders: dict[str, Path], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.zoo", str(tmp_path)], check=True, capture_output=True)
    for hub_id, folder in folders.items():
        assert digests(tmp_path / hub_id) == digests(folder)
        assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000


@pytest.mark.parametrize("name", list(SPECS))
def test_forms_and_layouts(folders: dict[str, Path], name: str) -> None:
    entry, spec = find_family(name), SPECS[name]
    layouts = [read_checkpoint(FolderSource(folders[hub_id])) for hub_id in (entry.aligned, entry.sft)]
    for layout, side in zip(layouts, (spec.aligned, spec.sft), strict=True):
        assert layout.form == ("pickle" if side.form == "pickle" else "safetensors")
        assert len(layout.weight_files) == side.shards
    dtypes = {tensor.dtype for tensor in layouts[0].tensors.values()}
    assert dtypes == {"BF16" if spec.dtype == "bfloat16" else "F16"}


@pytest.mark.parametrize("name", ["starling-lm-7b-alpha", "internlm2-chat-7b", "llama3-70b-chinese-chat"])
def test_generation_configs_miss_what_ends_a_turn(folders: dict[str, Path], name: str) -> None:
    """The registry's stop tokens are what makes these families' answers end."""
    folder = folders[find_family(name).aligned]
    named = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    stops = {ids[token] for token in find_family(name).stop_tokens}
    assert stops - {named} and isinstance(named, int)


def test_gated_parents_need_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "llama3-8b-chinese-chat"
    with serve_zoo((name,)) as hub:
        use_in_this_process(monkeypatch, hub, tmp_path)
        with pytest.raises(PermanentError, match="Meta-Llama-3-8B-Instruct"):
            open_source(find_family(name).sft)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert "config.json" in open_source(find_family(name).sft).files()


def test_another_process_finds_it_on_the_hub(tmp_path: Path) -> None:
    with serve_zoo(("tulu-2-dpo-13b",)) as hub:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "check", "tulu-2-dpo-13b"],
            env=os.environ | hub.environment(tmp_path, TOKEN),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "inv_freq" in done.stdout


def digests(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
