"""Extrapolating straight from range requests: the same bytes as from downloaded files; one fault a test."""

from pathlib import Path

import pytest
import torch

from tasks.stores.artefact import Store
from tasks.stores.folder_source import FolderSource
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.streaming import reads_of
from tests.servers.hub import HubServer
from tests.stores.streamed import RANGE, digests_of, in_store, make_model, moved, on_hub, random_tensors
from tests.weights.checkpoints import write_checkpoint, write_pickles

pytestmark = pytest.mark.usefixtures("short_ranges")


def test_from_the_hub(hub: HubServer, folders: tuple[FolderSource, FolderSource], tmp_path: Path) -> None:
    """The same bytes; no weights on the disk; and the manifest says what was checked of each file."""
    expected = make_model(*folders, tmp_path / "expected")
    aligned, sft = on_hub(hub, *folders)
    streamed = make_model(aligned, sft, tmp_path / "streamed")
    assert digests_of(streamed) == digests_of(expected)
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
    assert {file.check for file in make_model(aligned, sft, tmp_path / "fetched", False).inputs} == {"sha256"}


def test_from_a_store(store: Store, folders: tuple[FolderSource, FolderSource], tmp_path: Path) -> None:
    expected = make_model(*folders, tmp_path / "expected")
    streamed = make_model(*in_store(store, *folders), store.artefact("models", "a1b2"))
    assert digests_of(streamed) == digests_of(expected)


def test_pickles(hub: HubServer, tmp_path: Path) -> None:
    new = random_tensors()
    aligned = write_pickles(tmp_path / "aligned", new, cuts=[2])
    sft = write_pickles(tmp_path / "sft", moved(new), cuts=[3])
    expected = make_model(aligned, sft, tmp_path / "expected")
    assert digests_of(make_model(*on_hub(hub, aligned, sft), tmp_path / "streamed")) == digests_of(expected)


def test_fp8_with_its_scales(hub: HubServer, tmp_path: Path) -> None:
    """The scales lie in front of the weights: files are still read whole, in order, and hashed."""
    sources: list[FolderSource] = []
    for side, new in (("aligned", random_tensors()), ("sft", moved(random_tensors()))):
        scales = {f"{name}_scale": torch.full((), 0.01) for name in new}
        weights = {name: (tensor.float() / 0.01).to(torch.float8_e4m3fn) for name, tensor in new.items()}
        sources.append(write_checkpoint(tmp_path / side, scales | weights))
    aligned, sft = on_hub(hub, sources[0], sources[1])
    expected = make_model(sources[0], sources[1], tmp_path / "expected", dequantize=True)
    streamed = make_model(aligned, sft, tmp_path / "streamed", dequantize=True)
    assert digests_of(streamed) == digests_of(expected)
    assert {check.check for check in streamed.inputs} == {"sha256"}
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_identical_files_are_read_once(hub: HubServer, tmp_path: Path) -> None:
    """Frozen layers: the SFT side's file has the aligned side's digest, so it is not asked for."""
    new = random_tensors()
    old = moved(new) | {name: new[name] for name in list(new)[:4]}
    sides = [write_checkpoint(tmp_path / name, new if name == "a" else old, cuts=[2, 4]) for name in "ab"]
    expected = make_model(sides[0], sides[1], tmp_path / "expected")
    aligned, sft = on_hub(hub, *sides)
    for streamed in (True, False):
        hub.log.clear()
        made = make_model(aligned, sft, tmp_path / f"streamed-{streamed}", streamed)
        assert digests_of(made) == digests_of(expected)
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


def test_reads_are_the_plan_and_nothing_else(folders: tuple[FolderSource, FolderSource]) -> None:
    aligned, sft = folders
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    for shard in make_plan(recipe, aligned, sft).shards:
        for side in ("aligned", "sft"):
            read = sum(span.stop - span.start for span in reads_of(shard, side))
            assert read == sum(tensor.nbytes for tensor in shard.tensors)
