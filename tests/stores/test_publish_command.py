"""`expo publish` and `expo verify` with real models, a Hub on loopback and either kind of store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from tasks.errors import InputError
from tasks.reports.publishing import publish_with_card
from tasks.stores.artefact import Artefact, Store
from tasks.stores.source import open_source, reopen
from tasks.weights.model import extrapolate
from tasks.weights.plan import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.verify import verify
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.weights.checkpoints import pair

REPO = "lab/expo-model"


@pytest.fixture
def model(hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    """A model whose parents are on the Hub; the aligned one's card names its licence."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    _, aligned, sft = pair(tmp_path / "pair")
    (aligned.folder() / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    new, old = open_source("org/aligned"), open_source("org/sft")
    recipe = Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3)
    made = store.artefact("models", recipe.fingerprint[:16])
    extrapolate(make_plan(recipe, new, old), new, old, made, inputs="stream")
    return made


def test_published_model_verifies_from_the_hub(hub: HubServer, model: Artefact, tmp_path: Path) -> None:
    """Its files by ranges, its tensors from the parents; no weights on this disk."""
    published = publish_with_card(model, REPO)
    data = ModelCard(hub.repos[REPO].head.files["README.md"].content.decode()).data
    assert data.get("license") == "mit"
    assert data.get("base_model") == ["org/aligned", "org/sft"]

    for uri in (REPO, f"{REPO}@{published.commit}", model.uri):
        found = verify(open_source(uri), reopen, "all")
        assert (found.differences, found.files, len(found.tensors)) == ((), 5, 4)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_changed_repository_does_not_verify(hub: HubServer, model: Artefact) -> None:
    publish_with_card(model, REPO)
    repo = hub.repos[REPO]
    shard = next(name for name in repo.head.files if name.endswith(".safetensors"))
    files = {name: blob.content for name, blob in repo.head.files.items()}
    hub.add(REPO, files | {shard: files[shard][:-1] + b"\x00", "extra.bin": b"?"})
    found = verify(open_source(REPO)).differences
    assert [(one.kind, one.file) for one in found] == [("sha256", shard), ("unknown file", "extra.bin")]


def _expo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=os.environ | environment)


def test_the_commands(hub: HubServer, model: Artefact, store: Store, tmp_path: Path) -> None:
    """Public only when asked for; twice makes one commit; and gc finds nothing in a tidy store."""
    environment = hub.environment(tmp_path / "home", WRITE_TOKEN)
    done = _expo(environment, "publish", model.uri, REPO)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/{REPO}/tree/{hub.repos[REPO].head.sha}: private, with no verdicts" in done.stdout
    assert hub.repos[REPO].private
    assert _expo(environment, "publish", model.uri, REPO).returncode == 0
    assert len(hub.repos[REPO].commits) == 2
    refused = _expo(environment, "publish", model.uri, REPO, "--public")
    assert (refused.returncode, "private already" in refused.stderr) == (2, True)

    checked = _expo(environment, "verify", REPO)
    assert checked.returncode == 0, checked.stderr
    assert "5 files and 4 tensors are as they should be" in checked.stdout
    tidy = _expo(environment, "gc", store.uri, "--older-than", "0")
    assert "0 leftovers" in tidy.stdout or "cache" in tidy.stdout


def test_no_model_is_refused(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest, so there is no whole model"):
        publish_with_card(Artefact(str(tmp_path)), REPO)
    assert REPO not in hub.repos
