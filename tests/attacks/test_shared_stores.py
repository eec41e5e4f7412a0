"""What lies in a shared place is never at risk: not from `expo gc`, and not from a run beside this one."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.core.errors import CorruptError, InputError
from tasks.stores import s3_admin
from tasks.stores.artefact import CLAIM, MANIFEST, Artefact, Store
from tasks.stores.disk import cache_folder
from tasks.stores.gc import find_orphans, remove
from tasks.stores.lease import hold_lease, is_leased, live_leases, release_lease
from tasks.stores.open import open_source, reopen
from tasks.stores.s3 import S3Files
from tasks.weights.extrapolation import extrapolate
from tasks.weights.folder import RECEIPT, put_shard, seal
from tasks.weights.pass_options import Parents
from tasks.weights.planner import make_plan
from tasks.weights.shard_writer import write_shard
from tasks.weights.verify import verify
from tests.servers.s3 import BUCKET, S3Server
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair

NOW = timedelta(0)
FINGERPRINT = "ab" * 8


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "expo-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def _write(uri: str, name: str, folder: Path) -> None:
    """Writes a file directly, without an artefact's checks."""
    path = folder / "of-anybody"
    path.write_bytes(b"x")
    if not uri.startswith("s3://"):
        target = Path(uri) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")
        return
    S3Files(uri)._call("put_object", name, Body=b"x")


def _collect(store: Store) -> None:
    for orphan in find_orphans(store.uri, NOW):
        remove(orphan)


def test_a_place_that_is_no_store_is_refused(store: Store, tmp_path: Path) -> None:
    """Other projects have folders called models and reports, too."""
    for name in ("models/net/weights.bin", "reports/2024/q1.pdf", "models/train.py"):
        _write(store.uri, name, tmp_path)
    with pytest.raises(InputError, match=r"no expo-store\.json.*nothing was removed"):
        find_orphans(store.uri, NOW)


def test_only_names_that_this_program_writes(store: Store, model: Artefact, tmp_path: Path) -> None:
    """A file of another name in a store is not this program's."""
    names = [
        *("models/notes.txt", "models/net/weights.bin", "models/ABABABABABABABAB/x", "reports/q1.pdf"),
        *("reports/2024/q1.pdf", "data/file", f"{model.uri.removeprefix(store.uri)[1:]}/my-notes.md"),
    ]
    for name in names:
        _write(store.uri, name, tmp_path)
    _collect(store)
    place = Path(store.uri)
    held = s3_admin.all_objects(store.uri) if "://" in store.uri else None
    assert all(name in held if held is not None else (place / name).exists() for name in names)


@pytest.mark.parametrize("name", ["*", "model*", "[a-z]*", "?", "**"])
def test_a_pattern_in_a_key_is_a_name(s3: S3Server, tmp_path: Path, name: str) -> None:
    """fsspec expands patterns where it removes: an object called `*` once took every model along."""
    store = Store(f"s3://{BUCKET}/{uuid4().hex}")
    whole = [store.artefact("models", character * 16) for character in "cd"]
    for artefact in whole:
        artefact.write("config.json", b"{}")
        artefact.seal(b'{"files": [{"name": "config.json"}]}')
    _write(store.uri, f"models/{name}/junk", tmp_path)
    _write(store.uri, f"models/{'c' * 16}/{name}.safetensors", tmp_path)
    _write(store.uri, f"models/{FINGERPRINT}/{name}", tmp_path)
    found = {orphan.place.removeprefix(store.uri) for orphan in find_orphans(store.uri, NOW)}
    assert found == {f"/models/{'c' * 16}/{name}.safetensors", f"/models/{FINGERPRINT}"}
    _collect(store)
    left = s3_admin.all_objects(store.uri)
    assert f"models/{name}/junk" in left
    assert all(artefact.names() == ["config.json", MANIFEST] for artefact in whole)
    assert not any(FINGERPRINT in key for key in left)


@pytest.mark.slow
def test_a_prefix_ends_in_a_slash(s3: S3Server, tmp_path: Path) -> None:
    """`store` is no part of `store2`: neither its objects nor its uploads."""
    name = uuid4().hex
    store, other = Store(f"s3://{BUCKET}/{name}"), f"s3://{BUCKET}/{name}2"
    store.mark()
    _write(other, f"models/{FINGERPRINT}/config.json", tmp_path)
    key = f"{name}2/models/{FINGERPRINT}/model.safetensors"
    upload = S3Files(other)._call("create_multipart_upload", f"models/{FINGERPRINT}/model.safetensors")
    assert find_orphans(store.uri, NOW) == ()
    assert [found.key for found in s3_admin.uploads(other)] == [key]
    s3_admin.abandon(s3_admin.Upload(BUCKET, key, upload["UploadId"], datetime.now(UTC), 0))


def test_the_clock_of_the_store_decides(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's may be hours ahead; what is young by the store's own stays."""
    store = Store(f"s3://{BUCKET}/{uuid4().hex}")
    store.artefact("models", FINGERPRINT).write("config.json", b"{}")

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Ahead":  # noqa: ARG003 - as datetime has it
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + 7200, UTC)

    monkeypatch.setattr("tasks.stores.gc.datetime", Ahead)
    found = [orphan.kind for orphan in find_orphans(store.uri, timedelta(hours=1))]
    assert "unfinished" not in found


WRITER = """
import sys
from tasks.stores.artefact import Artefact
part = Artefact(sys.argv[1]).part("model.safetensors")
part.write_bytes(b"x")
print(part, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_parts_of_live_runs_stay_whatever_the_clock_says(store: Store) -> None:
    """Another process writes a part that looks two years old; killed, it leaves an orphan at once."""
    store.mark()
    artefact = store.artefact("models", FINGERPRINT)
    command = [sys.executable, "-c", WRITER, artefact.uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        part = Path(writer.stdout.readline().decode().strip())
        for path in (part, *part.parent.iterdir()):
            os.utime(path, (0, 0))
        assert is_leased(part.parent)
        assert find_orphans(store.uri, NOW) == ()
        writer.kill()
    assert not is_leased(part.parent)
    assert len(find_orphans(store.uri, NOW)) == 1
    _collect(store)
    assert not part.exists()


def test_a_lease_ends_with_its_holder_and_can_be_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    lease = hold_lease(folder)
    assert hold_lease(folder) == lease
    assert live_leases(folder) == {lease}
    (folder / f"{lease}.lease").unlink()  # as a seal of another run does
    assert hold_lease(folder) != lease
    release_lease(folder)
    assert live_leases(folder) == frozenset()
    assert not is_leased(tmp_path)


def test_links_in_a_cache_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x")
    parts = cache_folder() / "parts"
    parts.mkdir(parents=True)
    (parts / "a1").symlink_to(outside)
    store = Store(str(tmp_path / "store"))
    store.mark()
    _collect(store)
    assert (outside / "file").exists()


@pytest.mark.parametrize("times", range(3))
def test_two_alphas_into_one_place(store: Store, tmp_path: Path, times: int) -> None:
    """Both look and find it empty; one gets the claim, the other an error that names its holder."""
    wanted, aligned, sft = pair(tmp_path / "pair")
    plans = [
        make_plan(wanted.model_copy(update={"alpha": alpha}), aligned, sft) for alpha in (0.1, 0.3, 0.5, 0.7)
    ]
    place = f"{store.uri}/out"

    def make(number: int) -> str:
        try:
            return extrapolate(plans[number], aligned, sft, Artefact(place)).fingerprint
        except InputError as error:
            assert "claimed for another model" in str(error) or "another model is in this folder" in str(
                error
            )
            return ""

    with ThreadPoolExecutor(4) as pool:
        won = [fingerprint for fingerprint in pool.map(make, range(4)) if fingerprint]
    assert len(won) == 1
    found = verify(open_source(place), reopen, "all")
    assert found.differences == ()
    assert json.loads(Artefact(place).manifest() or b"")["fingerprint"] == won[0]
    assert Artefact(place).read(CLAIM) is None


def test_a_claim_says_who_has_it_and_is_resumed(store: Store, tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    plan, other = (
        make_plan(wanted.model_copy(update={"alpha": alpha}), aligned, sft) for alpha in (0.1, 0.3)
    )
    model = Artefact(f"{store.uri}/out")
    model.claim(plan.recipe.fingerprint)
    with pytest.raises(InputError, match=rf"claimed for another model by process {os.getpid()} on"):
        extrapolate(other, aligned, sft, model)
    assert extrapolate(plan, aligned, sft, model).fingerprint == plan.recipe.fingerprint


TWIN = """
import sys
from pathlib import Path
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
aligned, sft = (FolderSource(Path(sys.argv[1]) / name) for name in ("aligned", "sft"))
recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
print("ready", flush=True)
sys.stdin.readline()
extrapolate(make_plan(recipe, aligned, sft), aligned, sft, Artefact(sys.argv[2]))
"""


@pytest.mark.slow
def test_the_same_alpha_twice_ends_well(store: Store, tmp_path: Path) -> None:
    pair(tmp_path / "pair")
    command = [sys.executable, "-c", TWIN, str(tmp_path / "pair"), f"{store.uri}/out"]
    twins = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for twin in twins:
        assert twin.stdout
        twin.stdout.readline()
    ended = [twin.communicate(b"\n", timeout=LIMIT) for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], [errors.decode() for _, errors in ended]
    assert verify(open_source(f"{store.uri}/out"), reopen, "all").differences == ()


@pytest.mark.parametrize("place", ["pair/aligned", "pair/sft/deeper/out", "pair", "link/x", "alias"])
def test_no_output_in_or_around_a_parent(tmp_path: Path, place: str) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    (tmp_path / "link").symlink_to(aligned.folder())
    (tmp_path / "alias").symlink_to(tmp_path / "pair")
    before = sorted(path for path in (tmp_path / "pair").rglob("*"))
    with pytest.raises(InputError, match="overlaps with the checkpoint"):
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / place)))
    assert sorted(path for path in (tmp_path / "pair").rglob("*")) == before


@pytest.mark.slow
def test_no_output_in_or_around_a_parent_on_s3(s3: S3Server, tmp_path: Path) -> None:
    _, aligned, sft = pair(tmp_path / "pair")
    root = f"s3://{BUCKET}/{uuid4().hex}"
    for side, source in (("aligned", aligned), ("sft", sft)):
        for name in source.files():
            Artefact(f"{root}/{side}").copy_in(source.fetch(name), name)
    parents = open_source(f"{root}/aligned"), open_source(f"{root}/sft")
    wanted = pair(tmp_path / "pair")[0].model_copy(
        update={"aligned": parents[0].checkpoint, "sft": parents[1].checkpoint}
    )
    plan = make_plan(wanted, *parents)
    for place in (f"{root}/aligned", f"{root}/aligned/", f"{root}/sft/out", root):
        with pytest.raises(InputError, match="overlaps with the checkpoint"):
            extrapolate(plan, *parents, Artefact(place))
    assert extrapolate(plan, *parents, Artefact(f"{root}/aligned2")).files


def test_a_shard_that_was_replaced_is_not_sealed(tmp_path: Path) -> None:
    """Whatever wrote there between the shard and the seal."""
    wanted, aligned, sft = pair(tmp_path / "pair")
    plan, model = make_plan(wanted, aligned, sft), Artefact(str(tmp_path / "out"))
    receipts = []
    for job in plan.shards:
        part = model.part(job.file)
        receipts.append(write_shard(job, aligned, sft, part))
        put_shard(receipts[-1], part, model)
    other = receipts[0].model_copy(update={"job": "0" * 64})
    model.write(other.file + RECEIPT, other.model_dump_json().encode())
    with pytest.raises(CorruptError, match="was replaced meanwhile"):
        seal(plan, receipts, Parents(aligned, sft), model)
    assert model.manifest() is None
