"""What goes wrong between two whole servers: links that break, a Hub that restarts, a kill in between."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from tasks.core.errors import InputError, PermanentError, RetryableError
from tasks.publishing.publication import publish_with_card
from tasks.stores.artefact import Artefact, Store
from tasks.stores.gc import find_orphans, remove
from tasks.stores.open import open_source
from tasks.stores.s3 import S3Files, forget_clients
from tasks.weights.extrapolation import extrapolate
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.prefetch import SHARDS_AT_ONCE, limit_incoming
from tasks.weights.recipe import Recipe
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.servers.s3 import BUCKET, S3Server
from tests.servers.slow_link import SlowLink
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair

CONTENT = os.urandom(3_000_000)
REPO = "lab/model"


@pytest.fixture
def link(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLink]:
    """The S3 server behind a link that can be cut."""
    with SlowLink(s3.port) as link:
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.url)
        forget_clients()
        yield link
    forget_clients()


@pytest.fixture
def model(tmp_path: Path) -> Artefact:
    wanted, aligned, sft = pair(tmp_path / "pair")
    made = Artefact(str(tmp_path / "models" / "a1b2"))
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made


@pytest.mark.slow
def test_download_from_s3_with_a_dropped_connection(
    link: SlowLink, tmp_path: Path, waits: list[float]
) -> None:
    files = S3Files(f"s3://{BUCKET}/{uuid4().hex}")
    (tmp_path / "file").write_bytes(CONTENT)
    files.copy_in(tmp_path / "file", "model.safetensors")
    link.cut(times=2)
    assert files.fetch("model.safetensors", tmp_path / "here").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["model.safetensors"]


def test_s3_that_keeps_dropping_connections(link: SlowLink, tmp_path: Path, waits: list[float]) -> None:
    """The error says so, and what had come is continued: nothing half-written is taken for whole."""
    files = S3Files(f"s3://{BUCKET}/{uuid4().hex}")
    (tmp_path / "file").write_bytes(CONTENT)
    files.copy_in(tmp_path / "file", "model.safetensors")
    link.cut(times=10_000)
    with pytest.raises(RetryableError):
        files.fetch("model.safetensors", tmp_path / "here")
    assert not (tmp_path / "here" / "model.safetensors").exists()
    link.cut(times=0)
    assert files.fetch("model.safetensors", tmp_path / "here").read_bytes() == CONTENT


def test_hub_killed_and_restarted_during_a_publication(
    tmp_path: Path, model: Artefact, monkeypatch: pytest.MonkeyPatch, waits: list[float], hub: HubServer
) -> None:
    """The server goes away in the middle of an upload: an error; back again, one commit and no other."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            publish_with_card(model, REPO)
        except RetryableError as error:
            raised.append(error)

    hub.fail("stall", on="PUT /upload/", times=100)
    thread = threading.Thread(target=attempt)
    thread.start()
    assert hub.wait_until_asked("PUT /upload/", times=1)
    hub.__exit__(None, None, None)
    thread.join()
    hub.faults.clear()
    hub.__enter__()
    assert len(raised) == 1
    assert [commit.title for commit in hub.repos[REPO].commits] == ["initial commit"]
    published = publish_with_card(model, REPO)
    assert len(hub.repos[REPO].commits) == 2
    assert publish_with_card(model, REPO) == published


def test_no_space_for_the_copies_of_a_publication(
    hub: HubServer, s3: S3Server, model: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on S3 passes through this disk shard by shard; one that has no room for a shard says so."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    remote = Artefact(f"s3://{BUCKET}/{uuid4().hex}")
    for name in model.names():
        remote.copy_in(model.fetch(name, Path()), name)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(PermanentError, match="or use another disk"):
        publish_with_card(remote, REPO)
    assert [commit.title for commit in hub.repos[REPO].commits] == ["initial commit"]


@pytest.mark.slow
def test_killed_between_hub_and_s3(
    hub: HubServer, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the Hub to S3 without inputs on a disk, killed with -9: the same bytes, and no orphans."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "cache-of-expo"))
    _, aligned, sft = pair(tmp_path / "pair")
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    store = Store(f"s3://{BUCKET}/{uuid4().hex}")
    out = store.artefact("models", "a1b2")
    # Twelve requests read six headers; those after them are the shards'.
    hub.fail("stall", on="GET /cdn/", after=12, times=100)
    command = [sys.executable, "-m", "flows.cli", "extrapolate", "--stream", "--alpha", "0.3"]
    killed = subprocess.Popen(
        [*command, "--out", out.uri, "--aligned", "org/aligned", "--sft", "org/sft"],
        env=os.environ | hub.environment(tmp_path / "of-the-killed"),
    )
    assert hub.wait_until_asked("GET /cdn/", times=13)
    killed.kill()
    killed.wait()
    assert out.manifest() is None
    hub.faults.clear()

    expected = Artefact(str(tmp_path / "expected"))
    new, old = open_source("org/aligned"), open_source("org/sft")
    plan = make_plan(Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3), new, old)
    made = extrapolate(plan, new, old, out, options=PassOptions(inputs="stream"))
    assert made.files == extrapolate(plan, new, old, expected, options=PassOptions(inputs="download")).files
    for orphan in find_orphans(store.uri, timedelta(0)):
        assert orphan.kind == "cache"  # the killed process's part, on this machine
        remove(orphan)
    assert find_orphans(store.uri, timedelta(0)) == ()


def test_shards_come_in_a_few_at_a_time(hub: HubServer, tmp_path: Path) -> None:
    """The others are sent meanwhile; shards of local parents wait for nobody."""
    _, aligned, sft = pair(tmp_path / "pair")
    hub.add("org/aligned", aligned.folder())
    remote = open_source("org/aligned")
    inside, release = threading.Semaphore(0), threading.Event()

    def come_in() -> None:
        with limit_incoming(remote):
            inside.release()
            release.wait()

    threads = [threading.Thread(target=come_in) for _ in range(SHARDS_AT_ONCE + 1)]
    for thread in threads:
        thread.start()
    assert all(inside.acquire(timeout=LIMIT) for _ in range(SHARDS_AT_ONCE))
    assert not inside.acquire(timeout=0.2)
    with limit_incoming(aligned, sft):
        pass
    release.set()
    assert inside.acquire(timeout=LIMIT)
    for thread in threads:
        thread.join()


def test_a_repository_for_several_families_is_refused(tmp_path: Path) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    families = (FamilyName("zephyr-7b-beta"), FamilyName("tulu-2-dpo-7b"))
    with pytest.raises(InputError, match="a repository holds one model; give a namespace"):
        expo.fn(families, benchmarks=(), store=str(tmp_path), publish_to="lab/model")
    assert not any(tmp_path.iterdir())
