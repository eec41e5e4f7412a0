"""Extrapolating from range requests under faults: one a test, and the same bytes in the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import PermanentError, RetryableError
from tasks.stores.artefact import Artefact, Store
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.shard_writer import write_shard
from tests.servers.hub import HubServer
from tests.stores.streamed import RANGE, digests_of, in_store, make_model, on_hub

pytestmark = pytest.mark.usefixtures("short_ranges")


@pytest.mark.parametrize("kind", ["drop", "truncate"])
def test_a_range_is_asked_for_again_by_itself(
    hub: HubServer,
    folders: tuple[FolderSource, FolderSource],
    tmp_path: Path,
    waits: list[float],
    kind: str,
) -> None:
    aligned, sft = on_hub(hub, *folders)
    expected = make_model(aligned, sft, tmp_path / "undisturbed")
    undisturbed = hub.asked(RANGE)
    hub.log.clear()
    hub.fail(kind, on="GET /cdn/", times=3)  # type: ignore[arg-type]
    assert digests_of(make_model(aligned, sft, tmp_path / "disturbed")) == digests_of(expected)
    assert hub.asked(RANGE) == undisturbed + 3


@pytest.mark.parametrize(("status", "wait"), [(429, 7.0), (503, None)])
def test_a_busy_hub(
    hub: HubServer,
    folders: tuple[FolderSource, FolderSource],
    tmp_path: Path,
    waits: list[float],
    status: int,
    wait: float | None,
) -> None:
    aligned, sft = on_hub(hub, *folders)
    plan = make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3), aligned, sft)
    hub.fail("status", on="GET /cdn/", status=status, retry_after=int(wait) if wait else None)
    write_shard(plan.shards[0], aligned, sft, tmp_path / "part", options=PassOptions(inputs="stream"))
    assert len(waits) == 1
    assert wait is None or waits == [wait]


def test_corrupt_body_of_a_whole_file(
    hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """A range has no digest; the file that it completes has one."""
    aligned, sft = on_hub(hub, *folders)
    wanted = aligned.files()["model-00001-of-00004.safetensors"].sha256
    plan = make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3), aligned, sft)
    hub.fail("corrupt", on=f"GET /cdn/{wanted}")
    with pytest.raises(RetryableError, match=r"org/aligned model-00001.* digest"):
        write_shard(plan.shards[0], aligned, sft, tmp_path / "part", options=PassOptions(inputs="stream"))
    assert not (tmp_path / "part").exists()
    assert _make_shard(aligned, sft, tmp_path / "part") == _make_shard(*folders, tmp_path / "local")


def _make_shard(aligned: Source, sft: Source, part: Path) -> str:
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    shard = make_plan(recipe, aligned, sft).shards[0]
    return write_shard(shard, aligned, sft, part, options=PassOptions(inputs="stream")).sha256


def test_another_file_than_listed(
    hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path, waits: list[float]
) -> None:
    """A mirror that serves another version under the same commit: size and ETag show it."""
    aligned, sft = on_hub(hub, *folders)
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    shard = make_plan(recipe, aligned, sft).shards[0]
    files = hub.repos["org/aligned"].head.files
    files["model-00001-of-00004.safetensors"] = files["model-00002-of-00004.safetensors"]
    with pytest.raises(RetryableError, match="another file than it listed"):
        write_shard(shard, aligned, sft, tmp_path / "part", options=PassOptions(inputs="stream"))


def test_revision_moved_during_the_run(
    hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """The plan's commit is used throughout, whatever the branch does meanwhile."""
    expected = make_model(*folders, tmp_path / "expected")
    aligned, sft = on_hub(hub, *folders)
    plan = make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3), aligned, sft)

    def move(_: int) -> None:
        hub.add("org/aligned", {"config.json": b"{}"})
        hub.add("org/sft", {"config.json": b"{}"})

    model = Artefact(str(tmp_path / "model"))
    made = extrapolate(
        plan, aligned, sft, model, options=PassOptions(inputs="stream", workers=1), advance=move
    )
    assert digests_of(made) == digests_of(expected)


def test_object_replaced_during_the_run(
    store: Store, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """S3 has no commits: an object that is another one now is refused, not mixed in."""
    if not store.uri.startswith("s3://"):
        pytest.skip("folders are compared before and after: tests/weights")
    aligned, sft = in_store(store, *folders)
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    shard = make_plan(recipe, aligned, sft).shards[3]
    other = (folders[0].folder() / shard.aligned_files[0]).read_bytes()[:-1] + b"\xff"
    store.artefact("parents", "aligned").write(shard.aligned_files[0], other)
    with pytest.raises(PermanentError, match="has changed since it was listed"):
        write_shard(shard, aligned, sft, tmp_path / "part", options=PassOptions(inputs="stream"))
    assert not (tmp_path / "part").exists()


STREAM = """
import sys
from tasks.stores.artefact import Artefact
from tasks.stores.open import open_source
from tasks.weights import streaming
from tasks.weights.extrapolation import extrapolate
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
streaming.RANGE_BYTES, streaming.AHEAD = 1000, 1
aligned, sft = open_source("org/aligned"), open_source("org/sft")
recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
model = Artefact(sys.argv[1])
options = PassOptions(inputs="stream", workers=1)
extrapolate(make_plan(recipe, aligned, sft), aligned, sft, model, options)
"""


@pytest.mark.slow
def test_killed_run_goes_on_at_its_shard(
    hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """Our process ends with -9 in its third shard: the same bytes, and two shards are not read again."""
    expected = make_model(*folders, tmp_path / "expected")
    aligned, sft = on_hub(hub, *folders)
    third = aligned.files()["model-00003-of-00004.safetensors"].sha256
    # Two requests read the header; of those after it, which are the shard's, one is answered.
    hub.fail("stall", on=f"GET /cdn/{third}", after=3, times=100)
    environment = os.environ | hub.environment(tmp_path / "of-the-killed")
    killed = subprocess.Popen([sys.executable, "-c", STREAM, str(tmp_path / "model")], env=environment)
    assert hub.wait_until_asked(f"GET /cdn/{third}", times=4)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "model" / "manifest.json").exists()
    hub.faults.clear()
    hub.log.clear()
    made = make_model(aligned, sft, tmp_path / "model")
    assert digests_of(made) == digests_of(expected)
    first = aligned.files()["model-00001-of-00004.safetensors"].sha256
    assert hub.asked(f"{first} bytes=") == 2  # the plan's
