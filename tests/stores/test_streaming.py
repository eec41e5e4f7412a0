"""Extrapolating straight from range requests: the same bytes as from downloaded files; one fault a test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks.core.errors import PermanentError, RetryableError
from tasks.stores.artefact import Artefact, Store
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source
from tasks.stores.source import Source
from tasks.weights import streaming
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.shard_writer import write_shard
from tasks.weights.streaming import reads_of
from tests.servers.hub import HubServer
from tests.weights.checkpoints import Tensors, write_checkpoint, write_pickles

RANGE = r"GET /cdn/\S+ bytes="


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand bytes and no tolerance for gaps: as many requests as a real checkpoint would take."""
    monkeypatch.setattr(streaming, "RANGE_BYTES", 1000)
    monkeypatch.setattr(streaming, "GAP_BYTES", 0)
    monkeypatch.setattr(streaming, "EDGE_BYTES", 5000)


def _tensors(seed: int = 7, count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"layers.{n}.weight": torch.randn(37, 51, generator=generator).bfloat16() for n in range(count)}


def _moved(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: (tensor.float() + 0.01).bfloat16() for name, tensor in tensors.items()}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[FolderSource, FolderSource]:
    """Shards 1 and 2 of the aligned side have the cuts of the SFT side's; the others have not."""
    new = _tensors()
    aligned = write_checkpoint(tmp_path / "aligned", new, cuts=[1, 2, 4])
    return aligned, write_checkpoint(tmp_path / "sft", _moved(new), cuts=[1, 2, 5])


def _on_hub(hub: HubServer, aligned: FolderSource, sft: FolderSource) -> tuple[Source, Source]:
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    return open_source("org/aligned"), open_source("org/sft")


def _in_store(store: Store, aligned: FolderSource, sft: FolderSource) -> tuple[Source, Source]:
    for name, source in (("aligned", aligned), ("sft", sft)):
        artefact = store.artefact("parents", name)
        for file in source.files():
            artefact.copy_in(source.fetch(file), file)
    return open_source(f"{store.uri}/parents/aligned"), open_source(f"{store.uri}/parents/sft")


def _make(
    aligned: Source, sft: Source, out: Path | Artefact, streamed: bool = True, dequantize: bool = False
) -> Manifest:
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3, dequantize=dequantize)
    plan = make_plan(recipe, aligned, sft)
    model = out if isinstance(out, Artefact) else Artefact(str(out))
    return extrapolate(
        plan, aligned, sft, model, options=PassOptions(inputs="stream" if streamed else "download", workers=2)
    )


def _digests(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files}


def test_from_the_hub(hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path) -> None:
    """The same bytes; no weights on the disk; and the manifest says what was checked of each file."""
    expected = _make(*folders, tmp_path / "expected")
    aligned, sft = _on_hub(hub, *folders)
    streamed = _make(aligned, sft, tmp_path / "streamed")
    assert _digests(streamed) == _digests(expected)
    assert streamed.statistics == expected.statistics
    assert hub.asked(RANGE) > 20
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    checks = {(file.side, file.file[:11]): file.check for file in streamed.inputs}
    assert {file: check for (side, file), check in checks.items() if side == "aligned"} == {
        f"model-0000{n}": "sha256" for n in (1, 2, 3, 4)
    }
    # The third SFT file makes parts of two shards, the fourth a part of one.
    assert [checks["sft", f"model-0000{n}"] for n in (1, 2, 3, 4)] == [
        *("sha256", "sha256", "size and etag", "sha256")
    ]
    assert {file.check for file in _make(aligned, sft, tmp_path / "fetched", False).inputs} == {"sha256"}


def test_from_a_store(store: Store, folders: tuple[FolderSource, FolderSource], tmp_path: Path) -> None:
    expected = _make(*folders, tmp_path / "expected")
    streamed = _make(*_in_store(store, *folders), store.artefact("models", "a1b2"))
    assert _digests(streamed) == _digests(expected)


def test_pickles(hub: HubServer, tmp_path: Path) -> None:
    new = _tensors()
    aligned = write_pickles(tmp_path / "aligned", new, cuts=[2])
    sft = write_pickles(tmp_path / "sft", _moved(new), cuts=[3])
    expected = _make(aligned, sft, tmp_path / "expected")
    assert _digests(_make(*_on_hub(hub, aligned, sft), tmp_path / "streamed")) == _digests(expected)


def test_fp8_with_its_scales(hub: HubServer, tmp_path: Path) -> None:
    """The scales lie in front of the weights: files are still read whole, in order, and hashed."""
    sources: list[FolderSource] = []
    for side, new in (("aligned", _tensors()), ("sft", _moved(_tensors()))):
        scales = {f"{name}_scale": torch.full((), 0.01) for name in new}
        weights = {name: (tensor.float() / 0.01).to(torch.float8_e4m3fn) for name, tensor in new.items()}
        sources.append(write_checkpoint(tmp_path / side, scales | weights))
    aligned, sft = _on_hub(hub, sources[0], sources[1])
    expected = _make(sources[0], sources[1], tmp_path / "expected", dequantize=True)
    streamed = _make(aligned, sft, tmp_path / "streamed", dequantize=True)
    assert _digests(streamed) == _digests(expected)
    assert {check.check for check in streamed.inputs} == {"sha256"}
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_identical_files_are_read_once(hub: HubServer, tmp_path: Path) -> None:
    """Frozen layers: the SFT side's file has the aligned side's digest, so it is not asked for."""
    new = _tensors()
    old = _moved(new) | {name: new[name] for name in list(new)[:4]}
    sides = [write_checkpoint(tmp_path / name, new if name == "a" else old, cuts=[2, 4]) for name in "ab"]
    expected = _make(sides[0], sides[1], tmp_path / "expected")
    aligned, sft = _on_hub(hub, *sides)
    for streamed in (True, False):
        hub.log.clear()
        made = _make(aligned, sft, tmp_path / f"streamed-{streamed}", streamed)
        assert _digests(made) == _digests(expected)
        assert made.statistics == expected.statistics
        skipped = [file for file in made.inputs if file.check == "not read"]
        assert [(file.side, file.file[:11]) for file in skipped] == [
            ("sft", "model-00001"),
            ("sft", "model-00002"),
        ]
        of_aligned = {info.sha256 for info in aligned.files().values()}
        of_sft = {info.sha256 for info in sft.files().values()} - of_aligned
        read = sum(hub.asked(f"/cdn/{digest}") > 0 for digest in of_sft if digest)
        assert (len(of_aligned - {None}), read) == (3, 1)


@pytest.mark.parametrize("kind", ["drop", "truncate"])
def test_a_range_is_asked_for_again_by_itself(
    hub: HubServer,
    folders: tuple[FolderSource, FolderSource],
    tmp_path: Path,
    waits: list[float],
    kind: str,
) -> None:
    aligned, sft = _on_hub(hub, *folders)
    expected = _make(aligned, sft, tmp_path / "undisturbed")
    undisturbed = hub.asked(RANGE)
    hub.log.clear()
    hub.fail(kind, on="GET /cdn/", times=3)  # type: ignore[arg-type]
    assert _digests(_make(aligned, sft, tmp_path / "disturbed")) == _digests(expected)
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
    aligned, sft = _on_hub(hub, *folders)
    plan = make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3), aligned, sft)
    hub.fail("status", on="GET /cdn/", status=status, retry_after=int(wait) if wait else None)
    write_shard(plan.shards[0], aligned, sft, tmp_path / "part", options=PassOptions(inputs="stream"))
    assert len(waits) == 1
    assert wait is None or waits == [wait]


def test_corrupt_body_of_a_whole_file(
    hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """A range has no digest; the file that it completes has one."""
    aligned, sft = _on_hub(hub, *folders)
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
    aligned, sft = _on_hub(hub, *folders)
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
    expected = _make(*folders, tmp_path / "expected")
    aligned, sft = _on_hub(hub, *folders)
    plan = make_plan(Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3), aligned, sft)

    def move(_: int) -> None:
        hub.add("org/aligned", {"config.json": b"{}"})
        hub.add("org/sft", {"config.json": b"{}"})

    model = Artefact(str(tmp_path / "model"))
    made = extrapolate(
        plan, aligned, sft, model, options=PassOptions(inputs="stream", workers=1), advance=move
    )
    assert _digests(made) == _digests(expected)


def test_object_replaced_during_the_run(
    store: Store, folders: tuple[FolderSource, FolderSource], tmp_path: Path
) -> None:
    """S3 has no commits: an object that is another one now is refused, not mixed in."""
    if not store.uri.startswith("s3://"):
        pytest.skip("folders are compared before and after: tests/weights")
    aligned, sft = _in_store(store, *folders)
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
    expected = _make(*folders, tmp_path / "expected")
    aligned, sft = _on_hub(hub, *folders)
    third = aligned.files()["model-00003-of-00004.safetensors"].sha256
    environment = os.environ | hub.environment(tmp_path / "of-the-killed")
    killed = subprocess.Popen([sys.executable, "-c", STREAM, str(tmp_path / "model")], env=environment)
    # Two requests read the header; those after it are the shard's.
    assert hub.wait_until_asked(f"GET /cdn/{third}", times=4)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "model" / "manifest.json").exists()
    hub.log.clear()
    made = _make(aligned, sft, tmp_path / "model")
    assert _digests(made) == _digests(expected)
    first = aligned.files()["model-00001-of-00004.safetensors"].sha256
    assert hub.asked(f"{first} bytes=") == 2  # the plan's


def test_reads_are_the_plan_and_nothing_else(folders: tuple[FolderSource, FolderSource]) -> None:
    aligned, sft = folders
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    for shard in make_plan(recipe, aligned, sft).shards:
        for side in ("aligned", "sft"):
            read = sum(span.stop - span.start for span in reads_of(shard, side))
            assert read == sum(tensor.nbytes for tensor in shard.tensors)
