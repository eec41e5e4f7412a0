"""The family's flow between a Hub and S3: streamed in, published only with `publish_to`."""

from pathlib import Path
from uuid import uuid4

import pytest
from huggingface_hub import ModelCard

from tasks.comparison.run_config import RunConfig
from tasks.core.errors import PermanentError
from tasks.core.families import Family
from tasks.stores.artefact import Store
from tasks.stores.open import open_source, reopen
from tasks.weights.inputs import InputMode
from tasks.weights.verify import verify
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.servers.s3 import BUCKET, S3Server
from tests.weights.checkpoints import pair

FAMILY = Family(
    name="small",
    aligned="org/aligned",
    sft="org/sft",
    alpha=0.3,
    alpha_source="a test",
    architecture="none",
)

pytestmark = pytest.mark.slow


@pytest.fixture
def store(
    hub: HubServer, s3: S3Server, prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """An empty store on S3, and the family's parents on the Hub."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "expo-cache"))
    monkeypatch.setattr("flows.family.find_family", lambda _: FAMILY)
    _, aligned, sft = pair(tmp_path / "pair")
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    return Store(f"s3://{BUCKET}/{uuid4().hex}")


def _run(store: Store, inputs: InputMode = "download", publish_to: str | None = None) -> None:
    from flows.family import expo_family
    from flows.parameters import FamilyName

    config = RunConfig(benchmarks=(), store=store.uri, inputs=inputs, publish_to=publish_to)
    expo_family(FamilyName("demo"), config)


def test_streamed_and_published_once(
    hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    _run(store, inputs="stream", publish_to="lab")
    repo = hub.repos["lab/aligned-ExPO"]
    assert repo.private
    card = ModelCard(repo.head.files["README.md"].content.decode())
    assert card.data.get("base_model") == ["org/aligned", "org/sft"]
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert verify(open_source("lab/aligned-ExPO"), reopen, "all").differences == ()

    asked = hub.asked("GET /cdn/")
    _run(store, inputs="stream", publish_to="lab")
    assert (len(repo.commits), hub.asked("GET /cdn/")) == (2, asked)


def test_nothing_is_uploaded_that_was_not_asked_for(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that may write is no order to do so."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    _run(store)
    assert hub.asked("^(POST|PUT) ") == 0
    assert len(store.names("models")) == 1


def test_a_token_that_may_not_write_is_refused_before_anything_is_spent(hub: HubServer, store: Store) -> None:
    with pytest.raises(PermanentError, match="HF_TOKEN"):
        _run(store, publish_to="lab/model")
    assert hub.asked("GET /cdn/") == 0
    assert store.names("models") == []
