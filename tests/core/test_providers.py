"""A family whose checkpoints, instructions and judge come from a package of its user's."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.serving import serving
from tasks.core.errors import InputError
from tasks.core.families import find_family, load_registry, registry
from tasks.core.providers import provider_of, unmade
from tasks.stores.open import open_source, reopen
from tests.weights.checkpoints import pair

MODULE = """
from contextlib import contextmanager
from pathlib import Path

from tests.servers.judge import JudgeServer

HERE = Path(__file__).parent


def is_made(uri):
    return find(uri).exists()


def find(uri):
    return HERE / uri.partition(":")[2]


@contextmanager
def serve_judge(uri):
    with JudgeServer() as server:
        yield server.url
"""
ENTRY = {
    "aligned": "mine:aligned",
    "sft": "mine:sft",
    "alpha": 0.3,
    "alpha_source": "a test",
    "architecture": "none",
    "provider": "my_expo_package",
    "instructions": "mine:questions.json",
    "judge": "mine:longer",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module on the path, its checkpoints beside it, and the registry's entry that names it."""
    pair(tmp_path)
    (tmp_path / "my_expo_package.py").write_text(MODULE)
    (tmp_path / "questions.json").write_text(json.dumps([{"instruction": "Hi", "output": "Yes"}]))
    (tmp_path / "families.yaml").write_text(yaml.safe_dump({"mine": ENTRY}))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EXPO_FAMILIES", str(tmp_path / "families.yaml"))
    registry.cache_clear()
    yield tmp_path
    registry.cache_clear()
    sys.modules.pop("my_expo_package", None)


def test_its_checkpoints_are_sources_like_any_other(package: Path) -> None:
    aligned, sft = (open_source(uri) for uri in find_family("mine").checkpoints)
    assert aligned.checkpoint.uri == "mine:aligned" and sft.checkpoint.uri == "mine:sft"
    assert "model.safetensors.index.json" in aligned.files()
    assert reopen(aligned.checkpoint).folder() == package / "aligned"


def test_its_judge_answers_at_an_address(package: Path, tmp_path: Path) -> None:
    judge = Judge(model="mine-longer", base_url=find_family("mine").judge)
    with serving(judge, tmp_path / "log") as served:
        assert served.base_url and served.base_url.startswith("http://127.0.0.1:")
        body = json.dumps({"model": "x", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        with urlopen(Request(f"{served.base_url}/chat/completions", body), timeout=30) as answer:
            assert json.load(answer)["choices"]


def test_checkpoints_that_are_yet_to_be_made(package: Path) -> None:
    assert unmade(find_family("mine")) == ()
    shutil.rmtree(package / "sft")
    ((uri, provider),) = unmade(find_family("mine"))
    assert uri == "mine:sft" and provider.find(uri) == package / "sft"
    assert unmade(find_family("zephyr-7b-beta")) == ()


@pytest.mark.parametrize(
    "uri", ["org/name", "s3://mine/x", "/mine:aligned", "nobody:aligned", "zephyr-7b-beta:x"]
)
def test_other_uris_have_no_provider(uri: str, package: Path) -> None:
    assert provider_of(uri) is None


def test_a_provider_that_is_not_installed_is_named(package: Path) -> None:
    (package / "my_expo_package.py").unlink()
    sys.modules.pop("my_expo_package", None)
    with pytest.raises(InputError, match=r"no module 'my_expo_package'.*install the package"):
        open_source("mine:aligned")


def test_a_judge_comes_from_the_entrys_own_provider(tmp_path: Path) -> None:
    path = tmp_path / "families.yaml"
    path.write_text(yaml.safe_dump({"mine": {**ENTRY, "judge": "demo:rule"}}))
    with pytest.raises(InputError, match="a family's own is called mine:"):
        load_registry(path)
