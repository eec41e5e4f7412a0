"""A model made straight into a repository of the Hub: whole or invisible, with a few shards of disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, ExpoError, RetryableError
from tasks.publishing.commit import find_published
from tasks.publishing.publication import extrapolate_and_publish, publish_with_card
from tasks.stores.artefact import Artefact
from tasks.stores.hub_files import HubFiles
from tasks.stores.open import open_source, reopen
from tasks.weights import extrapolation, shard_writer
from tasks.weights.jobs import Plan
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.verify import verify
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.stores.straight_to_hub import (
    ON_BRANCH,
    ON_MAIN,
    REPO,
    SENT,
    SHARDS,
    by_folder,
    titles_of,
    to_hub,
)
from tests.waiting import LIMIT, wait_until


def _expo(hub: HubServer, home: Path) -> subprocess.Popen[str]:
    """`expo extrapolate` straight to the Hub, in a process of its own."""
    begin = [sys.executable, "-m", "flows.cli", "extrapolate", "--stream", "--out", f"hf://{REPO}"]
    return subprocess.Popen(
        [*begin, "--aligned", "org/aligned", "--sft", "org/sft", "--alpha", "0.3"],
        env=os.environ | hub.environment(home, WRITE_TOKEN),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_the_same_as_through_a_folder(hub: HubServer, plan: Plan, cache: Path, tmp_path: Path) -> None:
    """One private commit behind the first; no branch and no file of it stays; and never twice."""
    publish_with_card(by_folder(plan, tmp_path / "folder"), "lab/by-folder")
    done = _expo(hub, tmp_path / "home")
    printed, error = done.communicate(timeout=LIMIT)
    assert done.returncode == 0, error

    repo = hub.repos[REPO]
    assert f"{hub.url}/{REPO}/tree/{repo.head.sha}: private, α = 0.3" in printed
    assert (repo.private, list(repo.refs), titles_of(hub)) == (True, ["main"], ["ExPO model", "initial co"])
    expected = dict(hub.repos["lab/by-folder"].head.files)
    card = expected.pop("README.md").content.decode().replace("by-folder", "expo-model")
    assert repo.head.files["README.md"].content.decode() == card
    assert {name: blob for name, blob in repo.head.files.items() if name != "README.md"} == expected
    assert verify(open_source(REPO), reopen, "all").differences == ()
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    assert not [path for path in cache.rglob("*") if path.is_file()]

    hub.log.clear()
    assert to_hub(plan).commit == repo.head.sha
    assert hub.asked(SENT) == hub.asked("POST .*/commit/") == hub.asked("GET /cdn/") == 0


def test_disk_for_the_shards_in_hand(
    hub: HubServer, plan: Plan, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the model: one shard a worker, of inputs nothing."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 4096)
    monkeypatch.setattr(extrapolation, "shards_at_once", lambda _: 2)
    held: list[int] = []
    aligned, sft = reopen(plan.recipe.aligned), reopen(plan.recipe.sft)
    find_published(REPO, plan.recipe.fingerprint)

    def look(_: int) -> None:
        held.append(sum(_size(path) for path in cache.rglob("*.safetensors*.part")))

    extrapolate_and_publish(
        plan, Parents(aligned, sft), REPO, options=PassOptions(inputs="stream"), advance=look
    )
    largest = max(shard.bytes for shard in plan.shards)
    assert len(held) > SHARDS
    assert largest <= max(held) <= 2 * largest < plan.output_bytes / 2


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # sent, and gone
        return 0


@pytest.mark.slow
def test_killed_between_two_shards(hub: HubServer, plan: Plan, cache: Path, tmp_path: Path) -> None:
    """Ended with -9 while the last shard is sent: main has nothing, and only that shard is made again."""
    expected = by_folder(plan, tmp_path / "folder")
    last = plan.shards[-1]
    hub.fail("stall", on=f"{SENT}{expected.sha256(last.file)}", times=100)
    process = _expo(hub, tmp_path / "home")
    # A shard that was sent has its receipt here.
    wait_until(lambda: len(list(cache.glob("hub/*/*.receipt.json"))) >= SHARDS - 1, "the receipts")
    _killed(process)
    assert titles_of(hub) == ["initial co"]
    hub.faults.clear()
    hub.log.clear()

    to_hub(plan)
    assert (hub.asked(SENT), hub.asked(ON_BRANCH), hub.asked(ON_MAIN)) == (1, 2, 1)
    read = {line.split()[1] for line in hub.log if line.startswith("GET /cdn/")}
    assert len(read) == len({*last.aligned_files}) + len({*last.sft_files}) == 2
    _require_equal(hub, expected)


@pytest.mark.slow
def test_killed_while_it_is_committed(
    hub: HubServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All shards are there, main has none of them: nothing is made or sent again, by any machine."""
    expected = by_folder(plan, tmp_path / "folder")
    hub.fail("stall", on=ON_MAIN)
    process = _expo(hub, tmp_path / "home")
    assert hub.wait_until_asked(ON_MAIN, times=1)
    _killed(process)
    assert titles_of(hub) == ["initial co"]
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "of-another-machine"))
    hub.log.clear()
    to_hub(plan)
    assert hub.asked(SENT) == hub.asked(ON_BRANCH) == hub.asked("GET /cdn/") == 0
    _require_equal(hub, expected)


def _require_equal(hub: HubServer, expected: Artefact) -> None:
    held = hub.repos[REPO].head.files
    assert {*held} == {*expected.names(), ".gitattributes", "README.md"}
    assert {name: held[name].sha256 for name in expected.names()} == {
        name: expected.sha256(name) for name in expected.names()
    }
    assert [*hub.repos[REPO].refs] == ["main"]
    assert len(titles_of(hub)) == 2


def test_a_branch_that_somebody_removed(
    hub: HubServer, plan: Plan, tmp_path: Path, waits: list[float]
) -> None:
    """What was on it is made again; this machine's receipts are no proof."""
    hub.fail("status", on=ON_MAIN, status=503, times=4)
    with pytest.raises(RetryableError, match="503"):
        to_hub(plan)
    refs = hub.repos[REPO].refs
    assert len(refs) == 2
    refs.pop(next(name for name in refs if name != "main"))
    hub.uploads.clear()
    to_hub(plan)
    _require_equal(hub, by_folder(plan, tmp_path / "folder"))


def test_a_shard_that_is_damaged_on_its_way_is_never_shown(
    hub: HubServer, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives back another byte than was hashed: an error, and the next run makes it again."""
    expected = by_folder(plan, tmp_path / "folder")
    send = HubFiles.put

    def damage(files: HubFiles, file: Path, name: str) -> None:
        if name == plan.shards[2].file:
            content = file.read_bytes()
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        send(files, file, name)

    with monkeypatch.context() as broken:
        broken.setattr(HubFiles, "put", damage)
        with pytest.raises(CorruptError, match=f"{plan.shards[2].file} .* nothing was published"):
            to_hub(plan)
    assert titles_of(hub) == ["initial co"]
    to_hub(plan)
    _require_equal(hub, expected)


def test_lost_receipts(hub: HubServer, plan: Plan, cache: Path, tmp_path: Path, waits: list[float]) -> None:
    """The shards are made again, by this machine with an empty cache or by another; not sent again."""
    expected = by_folder(plan, tmp_path / "folder")
    hub.fail("status", on=f"{SENT}{expected.sha256(plan.shards[-1].file)}", status=400, times=4)
    with pytest.raises(ExpoError, match="400"):
        to_hub(plan)
    assert list(cache.glob("hub/*/*.receipt.json"))
    shutil.rmtree(cache)
    hub.faults.clear()
    sent = len(hub.uploads)
    hub.log.clear()
    to_hub(plan)
    assert hub.asked(SENT) == SHARDS - sent
    _require_equal(hub, expected)


def test_lost_answers_and_a_busy_hub(hub: HubServer, plan: Plan, tmp_path: Path, waits: list[float]) -> None:
    hub.fail("lost", on=ON_BRANCH, status=502, times=2)
    hub.fail("status", on=SENT, status=500, times=2)
    hub.fail("lost", on=ON_MAIN, status=502)
    hub.fail("status", on="DELETE .*/branch/", status=503)
    to_hub(plan)
    _require_equal(hub, by_folder(plan, tmp_path / "folder"))


def test_a_branch_left_behind_goes(hub: HubServer, plan: Plan, waits: list[float]) -> None:
    """A run that ended between its commit and the end of its branch."""
    hub.fail("status", on="DELETE .*/branch/", status=503, times=4)
    with pytest.raises(RetryableError):
        to_hub(plan)
    assert len(hub.repos[REPO].refs) == 2
    assert to_hub(plan).commit == hub.repos[REPO].head.sha
    assert [*hub.repos[REPO].refs] == ["main"]
    assert len(titles_of(hub)) == 2
