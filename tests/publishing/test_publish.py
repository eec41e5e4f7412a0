"""Publishing to the Hub: once, whole, verified; from a folder and from S3."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError
from tasks.publishing.commit import publish
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.open import open_source
from tasks.stores.source import Checkpoint
from tasks.weights.manifest import Manifest, ModelFile
from tasks.weights.recipe import Recipe
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.servers.hub_repos import Blob, Repo, blob_of

REPO = "lab/expo-model"
CARD = "---\nlicense: apache-2.0\nbase_model: [org/aligned, org/sft]\n---\n# A model\n"
FILES = {
    "model-00001-of-00002.safetensors": bytes(range(256)) * 3000,
    "model-00002-of-00002.safetensors": bytes(range(255)) * 2000,
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "config.json": b'{"model_type": "llama"}',
}
COMMIT = "POST /api/models/.*/commit/"


def _recipe(alpha: float) -> Recipe:
    return Recipe(
        aligned=Checkpoint(uri="org/aligned", commit="a" * 40),
        sft=Checkpoint(uri="org/sft", commit="b" * 40),
        alpha=alpha,
    )


def _sealed(artefact: Artefact, alpha: float = 0.5) -> Artefact:
    for name, content in FILES.items():
        artefact.write(name, content)
    described = (
        ModelFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in FILES.items()
    )
    recipe = _recipe(alpha)
    manifest = Manifest(
        recipe=recipe,
        fingerprint=recipe.fingerprint,
        code_version="0",
        files=tuple(described),
        inputs=(),
        skipped=(),
        statistics=(),
    )
    artefact.seal(manifest.model_dump_json().encode())
    return artefact


@pytest.fixture
def model(store: Store) -> Artefact:
    return _sealed(store.artefact("models", "a1b2"))


@pytest.fixture
def local_model(tmp_path: Path) -> Artefact:
    return _sealed(Artefact(str(tmp_path / "model")))


@pytest.fixture(autouse=True)
def _logged_in(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


def _titles(hub: HubServer) -> list[str]:
    return [commit.title for commit in hub.repos[REPO].commits]


def test_one_private_commit_with_everything(hub: HubServer, model: Artefact) -> None:
    sent: list[int] = []
    published = publish(model, REPO, card=CARD, advance=sent.append)

    repo = hub.repos[REPO]
    assert repo.private
    assert (repo.head.sha, len(repo.commits)) == (published.commit, 2)
    assert published.url == f"{hub.url}/{REPO}/tree/{published.commit}"
    held = {name: blob.content for name, blob in repo.head.files.items() if name != ".gitattributes"}
    assert held == FILES | {"README.md": CARD.encode(), MANIFEST: model.manifest()}
    assert sum(sent) == sum(len(content) for content in FILES.values())
    source = open_source(REPO)
    assert all(source.fetch(name).read_bytes() == content for name, content in FILES.items())


def test_never_twice(hub: HubServer, model: Artefact) -> None:
    first = publish(model, REPO, card=CARD)
    hub.log.clear()
    assert publish(model, REPO, card=CARD) == first
    assert len(hub.repos[REPO].commits) == 2
    assert hub.asked("PUT /upload/") == hub.asked(COMMIT) == 0


def test_a_later_card_is_one_small_commit(hub: HubServer, local_model: Artefact) -> None:
    """A verdict that comes after the publication: no weights are sent again, and then nothing at all."""
    first = publish(local_model, REPO, card=CARD)
    hub.log.clear()
    later = CARD + "It helped.\n"
    assert publish(local_model, REPO, card=later) == first  # not asked to renew the card
    renewed = publish(local_model, REPO, card=later, renew_card=True)
    assert publish(local_model, REPO, card=later, renew_card=True) == renewed
    assert (hub.asked(COMMIT), hub.asked("PUT /upload/"), hub.asked("/lfs/objects/batch")) == (1, 0, 0)

    before, after = (commit.files for commit in hub.repos[REPO].commits[1:])
    assert after == before | {"README.md": Blob(later.encode(), lfs=False)}
    assert renewed.commit == hub.repos[REPO].head.sha


def test_branch_moved_before_the_later_card(
    hub: HubServer, local_model: Artefact, waits: list[float]
) -> None:
    publish(local_model, REPO, card=CARD)
    hub.fail("status", on=COMMIT, status=412)
    publish(local_model, REPO, card=CARD + "It helped.\n", renew_card=True)
    assert hub.repos[REPO].head.files["README.md"].content.endswith(b"It helped.\n")
    assert len(_titles(hub)) == 3


def test_lost_answer_to_the_commit(hub: HubServer, local_model: Artefact, waits: list[float]) -> None:
    """The client would commit again, since it cannot know that its commit was made."""
    hub.fail("lost", on=COMMIT, status=502)
    published = publish(local_model, REPO, card=CARD)
    assert hub.asked(COMMIT) == 1
    assert (hub.repos[REPO].head.sha, len(hub.repos[REPO].commits)) == (published.commit, 2)


def test_refused_commit_shows_nothing_and_is_tried_again(
    hub: HubServer, local_model: Artefact, waits: list[float]
) -> None:
    hub.fail("status", on=COMMIT, status=503, times=4)
    with pytest.raises(RetryableError, match="503"):
        publish(local_model, REPO, card=CARD)
    assert _titles(hub) == ["initial commit"]
    publish(local_model, REPO, card=CARD)
    assert len(_titles(hub)) == 2
    assert hub.asked("PUT /upload/") == 2  # what was sent once is not sent again


def test_branch_moved_meanwhile(hub: HubServer, local_model: Artefact, waits: list[float]) -> None:
    hub.fail("status", on=COMMIT, status=412)
    publish(local_model, REPO, card=CARD)
    assert hub.asked(COMMIT) == 2
    assert len(_titles(hub)) == 2


def test_busy_storage_is_tried_again(hub: HubServer, local_model: Artefact, waits: list[float]) -> None:
    hub.fail("status", on="PUT /upload/", status=500, times=2)
    publish(local_model, REPO, card=CARD)
    assert len(_titles(hub)) == 2


PUBLISH = """
import sys
from tasks.stores.artefact import Artefact
from tasks.publishing.commit import publish
publish(Artefact(sys.argv[1]), sys.argv[2], card=sys.argv[3])
"""


@pytest.mark.parametrize("at", ["PUT /upload/", COMMIT])
def test_killed_publication_has_published_nothing(
    hub: HubServer, local_model: Artefact, tmp_path: Path, at: str
) -> None:
    environment = os.environ | hub.environment(tmp_path, WRITE_TOKEN)
    hub.fail("stall", on=at)
    killed = subprocess.Popen([sys.executable, "-c", PUBLISH, local_model.uri, REPO, CARD], env=environment)
    assert hub.wait_until_asked(at, times=1)
    killed.kill()
    killed.wait()
    assert _titles(hub) == ["initial commit"]
    publish(local_model, REPO, card=CARD)
    assert len(_titles(hub)) == 2


def test_damaged_upload_is_found_afterwards(
    hub: HubServer, local_model: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Repo.commit

    def keep_damaged(repo: Repo, files: dict[str, Blob], title: str, branch: str = "main") -> str:
        damaged = {name: blob_of(name, blob.content[:9]) for name, blob in files.items()}
        return keep(repo, damaged, title, branch)

    monkeypatch.setattr(Repo, "commit", keep_damaged)
    with pytest.raises(CorruptError, match="is not what was published"):
        publish(local_model, REPO, card=CARD)


def test_damaged_model_is_not_uploaded(hub: HubServer, local_model: Artefact) -> None:
    assert local_model.local
    (local_model.local / "config.json").write_bytes(b'{"model_type": "other"}')
    with pytest.raises(CorruptError, match=r"config\.json"):
        publish(local_model, REPO, card=CARD)
    assert _titles(hub) == ["initial commit"]


def test_a_repository_keeps_its_model(hub: HubServer, local_model: Artefact, tmp_path: Path) -> None:
    publish(local_model, REPO, card=CARD)
    with pytest.raises(InputError, match="another model"):
        publish(_sealed(Artefact(str(tmp_path / "other")), alpha=1.0), REPO, card=CARD)


def test_a_repository_keeps_its_files(hub: HubServer, local_model: Artefact) -> None:
    hub.add(REPO, {"notes.txt": b"mine"})
    with pytest.raises(InputError, match=r"holds notes\.txt"):
        publish(local_model, REPO, card=CARD, private=False)


def test_private_model_stays_out_of_a_public_repository(hub: HubServer, local_model: Artefact) -> None:
    hub.add(REPO, {".gitattributes": b""})
    with pytest.raises(InputError, match="public already"):
        publish(local_model, REPO, card=CARD)
    assert hub.asked("PUT /upload/") == 0


def test_wrong_card_is_refused_before_any_upload(hub: HubServer, local_model: Artefact) -> None:
    with pytest.raises(InputError, match="license"):
        publish(local_model, REPO, card="---\nlicense: [1]\n---\n")
    assert REPO not in hub.repos


def test_token_without_the_right(
    hub: HubServer, local_model: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(PermanentError, match="HF_TOKEN") as raised:
        publish(local_model, REPO, card=CARD)
    assert "hf_of_somebody_else" not in str(raised.value)


def test_half_a_model_is_no_model(hub: HubServer, tmp_path: Path) -> None:
    artefact = Artefact(str(tmp_path / "half"))
    artefact.write("config.json", b"{}")
    with pytest.raises(InputError, match="no manifest"):
        publish(artefact, REPO, card=CARD)
