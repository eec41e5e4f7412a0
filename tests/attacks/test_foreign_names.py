"""A manifest is text from outside: no name in it leads out of a folder, no fingerprint of it is a path."""

import ast
import json
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import CorruptError, ExpoError, InputError, PermanentError
from tasks.core.names import is_plain_name
from tasks.core.text_files import in_markdown
from tasks.publishing.publication import publish_with_card
from tasks.stores.artefact import MANIFEST, Artefact, Store
from tasks.stores.disk import cache_folder, inside, remove_tree
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source
from tasks.weights.checkpoint import read_checkpoint
from tasks.weights.extrapolation import extrapolate
from tasks.weights.folder import RECEIPT, finished_shard, local_copy
from tasks.weights.manifest import read_manifest
from tasks.weights.planner import make_plan
from tasks.weights.verify import verify
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.weights.checkpoints import pair

REPOSITORY = Path(__file__).parents[2]
BAD_NAMES = (
    *("", ".", "..", "../x", "../../x", "/etc/passwd", "a/b", "a\\b", "~/x/y", ".bashrc", ".git"),
    *("a\0b", "a\nb", "\x1b[31mred", "\ud800", "x" * 256, "é" * 128, "file:///x"),
)


@pytest.fixture
def model(tmp_path: Path) -> Artefact:
    """A whole model of a store in a folder."""
    wanted, aligned, sft = pair(tmp_path / "pair")
    made = Store(str(tmp_path / "store")).artefact("models", wanted.fingerprint[:16])
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
    return made


def _edit(model: Artefact, **changes: object) -> None:
    path = Path(model.uri) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_name_leaves_its_folder(tmp_path: Path, name: str) -> None:
    assert not is_plain_name(name)
    with pytest.raises(CorruptError, match="no name of a file"):
        inside(tmp_path, name)
    with pytest.raises(InputError, match="no name of an artefact"):
        Store(str(tmp_path)).artefact("models", name)
    for call in ("read", "size", "sha256", "remove"):
        with pytest.raises(CorruptError):
            getattr(Artefact(str(tmp_path)), call)(name)


@pytest.mark.parametrize("fingerprint", ["../../..", "/", "", "0" * 63, "0" * 65, "0" * 64 + "\n", "0" * 64])
def test_a_fingerprint_is_what_the_recipe_has(
    hub: HubServer, model: Artefact, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`../../..` once made a publication remove the user's home."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    bystander = cache_folder().parent / "bystander"
    bystander.parent.mkdir(parents=True, exist_ok=True)
    bystander.write_text("of the user")
    _edit(model, fingerprint=fingerprint)
    with pytest.raises(CorruptError, match="manifest"):
        publish_with_card(model, "lab/model")
    assert bystander.read_text() == "of the user"
    assert "lab/model" not in hub.repos


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_manifest_names_files_of_its_folder(model: Artefact, name: str) -> None:
    manifest = json.loads(model.manifest() or b"")
    manifest["files"][0]["name"] = name
    with pytest.raises(CorruptError, match="damaged manifest"):
        read_manifest(json.dumps(manifest).encode())


def test_a_file_named_twice_is_refused(model: Artefact) -> None:
    manifest = json.loads(model.manifest() or b"")
    manifest["files"].append(manifest["files"][0])
    with pytest.raises(CorruptError, match="names a file twice"):
        read_manifest(json.dumps(manifest).encode())


def test_a_worker_writes_nothing_outside(tmp_path: Path, model: Artefact) -> None:
    """What fetches a model for an engine joins the manifest's names to a folder of its own."""
    victim = tmp_path / "victim"
    victim.write_text("of the user")
    files = json.loads(model.manifest() or b"")["files"]
    _edit(model, files=[file | {"name": str(victim)} for file in files[:1]])
    with pytest.raises(CorruptError):
        local_copy(model)
    assert victim.read_text() == "of the user"


def test_a_receipt_names_its_own_shard(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    plan = make_plan(wanted, aligned, sft)
    made = Artefact(str(tmp_path / "out"))
    extrapolate(plan, aligned, sft, made)
    job = plan.shards[0]
    receipt: dict[str, object] = {
        "job": job.fingerprint,
        "file": "config.json",
        "size": made.size("config.json"),
        "sha256": made.sha256("config.json"),
        "inputs": [],
        "statistics": [],
    }
    (Path(made.uri) / (job.file + RECEIPT)).write_text(json.dumps(receipt))
    assert finished_shard(job, made) is None


def test_a_manifest_that_is_a_folder(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    (tmp_path / "out" / MANIFEST).mkdir(parents=True)
    with pytest.raises(ExpoError, match=r"manifest\.json: not a file"):
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))


def test_what_an_engine_loads_has_its_digest(model: Artefact) -> None:
    """Of the same size, with other bytes: also Python of a checkpoint is hashed before anything loads it."""
    assert local_copy(model) == Path(model.uri)
    path = Path(model.uri) / "config.json"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorruptError, match=r"config\.json: not the file that the model's manifest names"):
        local_copy(model)


def test_a_file_is_hashed_once(model: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    local_copy(model)
    monkeypatch.setattr("tasks.stores.disk.sha256_of", lambda path: pytest.fail(f"{path} is hashed again"))
    local_copy(model)


def test_links_to_nothing_and_pipes_are_named(tmp_path: Path) -> None:
    """A pipe would be waited for for ever, a link to nothing left out in silence."""
    _, aligned, _ = pair(tmp_path)
    entry = aligned.folder() / "tokenizer.json"
    entry.symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"tokenizer\.json: a link to .*nothing, which is not there"):
        FolderSource(aligned.folder())
    entry.unlink()
    os.mkfifo(entry)
    with pytest.raises(InputError, match=r"tokenizer\.json: neither a file nor a folder"):
        FolderSource(aligned.folder())


@pytest.mark.slow
@given(data=st.data())
def test_fuzzed_manifests_are_refused_in_words(data: st.DataObject) -> None:
    """Whatever bytes are changed, the answer is a manifest or a CorruptError."""
    content = bytearray(_manifest_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with suppress(CorruptError):
        manifest = read_manifest(bytes(content))
        assert manifest.fingerprint == manifest.recipe.fingerprint
        assert all(is_plain_name(file.name) for file in manifest.files)


@cache
def _manifest_bytes() -> bytes:
    with TemporaryDirectory() as folder:
        wanted, aligned, sft = pair(Path(folder) / "pair")
        made = Artefact(f"{folder}/out")
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, made)
        return made.manifest() or b""


def test_removal_stays_below_its_root_and_follows_no_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "made").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").touch()
    (root / "made" / "link").symlink_to(outside)
    (root / "way").symlink_to(tmp_path)
    for folder in (root, root / "made" / "..", root / "..", outside, root / "way" / "outside", Path("/")):
        with pytest.raises(PermanentError, match="nothing was removed"):
            remove_tree(folder, root)
    (root / "alias").symlink_to(outside)
    remove_tree(root / "alias", root)
    remove_tree(root / "made", root)
    remove_tree(root / "gone", root)
    assert [path.name for path in root.iterdir()] == ["way"]
    assert (outside / "file").exists()


def test_one_function_removes_recursively() -> None:
    """Any other recursive removal would be a second place to get it wrong."""
    found = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("tasks", "flows")
        for path in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("rmtree", "removedirs"))
        or (isinstance(node, ast.keyword) and node.arg == "recursive")
    }
    assert found == {"tasks/stores/disk.py"}


@pytest.mark.parametrize("shard", ["config.json", "modeling_x.py", "model.safetensors.receipt.json"])
def test_an_index_names_weights_alone(tmp_path: Path, shard: str) -> None:
    """A file that is both: the output's shards have these names."""
    _, aligned, _ = pair(tmp_path)
    index = aligned.folder() / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    name, file = next(iter(content["weight_map"].items()))
    (aligned.folder() / shard).write_bytes((aligned.folder() / file).read_bytes())
    content["weight_map"][name] = shard
    index.write_text(json.dumps(content))
    with pytest.raises(CorruptError, match=r"is said to be in .*, which is no \.safetensors file"):
        read_checkpoint(FolderSource(aligned.folder()))


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_is_no_place_for_a_model(tmp_path: Path, out: str) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file; give a folder"):
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / out)))
    assert (tmp_path / "file").read_text() == "mine"


def test_the_disk_has_to_have_room_for_side_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, aligned, sft = pair(tmp_path / "pair")
    (aligned.folder() / "tokenizer.json").write_bytes(bytes(123_456))
    aligned = FolderSource(aligned.folder())
    wanted = wanted.model_copy(update={"aligned": aligned.checkpoint})
    asked: list[int] = []
    monkeypatch.setattr("tasks.weights.extrapolation.check_room", lambda _, size: asked.append(size))
    plan = make_plan(wanted, aligned, sft)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))
    assert asked[0] >= sum(shard.bytes for shard in plan.shards) + 123_456


@pytest.mark.parametrize(
    "name", ["![](http://collector.example/x)", "[a](javascript:b)", "<img src=x>", "`code`", "a\\![b](c)"]
)
def test_a_name_is_no_markup_in_markdown(name: str) -> None:
    """Whoever opened the page of a run would fetch the picture."""
    shown = in_markdown(name)
    assert not re.search(r"(?<!\\)(\\\\)*[\[\]`]", shown) and "<" not in shown


def test_a_manifest_of_gigabytes_is_not_read(model: Artefact) -> None:
    assert model.local
    (model.local / MANIFEST).unlink()
    with (model.local / MANIFEST).open("wb") as file:
        file.truncate(12 * 10**9)
    (difference,) = verify(open_source(str(model.local))).differences
    assert difference.message == "12000000000 bytes are too many for a manifest"
