"""What happens while a shard is written: many slots, bad values, a full disk, a file that changes."""

import errno
import os
from pathlib import Path

import pytest
import torch

from tasks.core.errors import CorruptError, InputError, MismatchError, PermanentError
from tasks.stores.artefact import Artefact
from tasks.stores.disk import sha256_of
from tasks.stores.folder_source import FolderSource
from tasks.weights import part_file, shard_writer
from tasks.weights.extrapolation import extrapolate
from tasks.weights.inputs import Inputs
from tasks.weights.part_file import PartFile
from tasks.weights.pass_options import Device, Parents, PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.receipts import ShardReceipt
from tasks.weights.shard_writer import write_shard, write_shards
from tests.weights.checkpoints import pair, recipe, write_checkpoint


@pytest.mark.parametrize("slot_bytes", [8, 1000, 4096])
def test_slots_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot_bytes: int) -> None:
    """A shard in hundreds of slots, its header in several: the same bytes and figures as in one."""
    wanted, aligned, sft = pair(tmp_path, output_dtype="float32")
    job = make_plan(wanted, aligned, sft).shards[1]
    whole = write_shard(job, aligned, sft, tmp_path / "whole")
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", slot_bytes)
    cut = write_shard(job, aligned, sft, tmp_path / "cut")
    assert cut.sha256 == whole.sha256 == sha256_of(tmp_path / "cut")
    for found, expected in zip(cut.statistics, whole.statistics, strict=True):
        assert found.norm == pytest.approx(expected.norm)
        assert found.largest_update == expected.largest_update


@pytest.mark.parametrize("threads", [1, 8])
def test_threads_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The receipt too is the same: sums are added in the order of the slots, not of the threads."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 512)
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[1]
    receipt = write_shard(job, aligned, sft, tmp_path / "one")
    assert write_shard(job, aligned, sft, tmp_path / "other", options=PassOptions(threads=threads)) == receipt


def test_without_direct_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that opens files for direct writes and then refuses them: the same bytes."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 4096)
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[1]
    direct = write_shard(job, aligned, sft, tmp_path / "direct")
    descriptors = []

    def refuse(self: PartFile, content: memoryview, offset: int) -> bool:
        descriptors.append(self)
        return False

    monkeypatch.setattr(PartFile, "_write_direct", refuse)
    assert write_shard(job, aligned, sft, tmp_path / "refused").sha256 == direct.sha256
    monkeypatch.setattr(part_file, "_open_direct", lambda _: None)
    assert write_shard(job, aligned, sft, tmp_path / "plain").sha256 == sha256_of(tmp_path / "plain")
    assert descriptors or part_file._open_direct(tmp_path / "direct") is None


def nonfinite_pair(folder: Path, side: str, value: float, **settings: object) -> tuple[FolderSource, ...]:
    """Two checkpoints, one of them with a bad value in tensor b."""
    tensors = {name: torch.full((300,), 60000.0).half() for name in "ab"}
    bad = {"a": tensors["a"], "b": tensors["b"].clone()}
    bad["b"][250] = value
    sides = {"aligned": tensors, "sft": tensors} | {side: bad}
    return tuple(write_checkpoint(folder / name, sides[name]) for name in ("aligned", "sft"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("side", ["aligned", "sft"])
def test_nonfinite_parent(tmp_path: Path, side: str, value: float) -> None:
    """The error names the tensor, before anything is published; allowed, the values are counted."""
    aligned, sft = nonfinite_pair(tmp_path, side, value)
    out = tmp_path / "out"
    with pytest.raises(CorruptError, match=r"'b': NaN or Inf in model\.safetensors"):
        extrapolate(make_plan(recipe(aligned, sft), aligned, sft), aligned, sft, Artefact(str(out)))
    assert not [path for path in out.rglob("*") if path.is_file()]
    plan = make_plan(recipe(aligned, sft, nonfinite="allow"), aligned, sft)
    manifest = extrapolate(plan, aligned, sft, Artefact(str(out)))
    assert [tensor.nonfinite for tensor in manifest.statistics] == [0, 1]
    again = extrapolate(plan, aligned, sft, Artefact(str(out)))
    assert [tensor.nonfinite for tensor in again.statistics] == [0, 1]


def test_overflow_of_the_output(tmp_path: Path) -> None:
    """fp16 ends at 65504: an extrapolation beyond it is no fault of the parents."""
    aligned, sft = nonfinite_pair(tmp_path, "sft", 1.0)
    with pytest.raises(CorruptError, match=r"'b': 1 values overflow F16.*choose --dtype"):
        extrapolate(
            make_plan(recipe(aligned, sft), aligned, sft), aligned, sft, Artefact(str(tmp_path / "out"))
        )


def test_large_values_that_do_not_overflow(tmp_path: Path) -> None:
    """The norm of a tensor may overflow where none of its values does."""
    tensors = {"a": torch.full((300,), 3e38)}
    aligned = write_checkpoint(tmp_path / "aligned", tensors | {"b": torch.ones(2)})
    sft = write_checkpoint(tmp_path / "sft", tensors | {"b": torch.zeros(2)})
    plan = make_plan(recipe(aligned, sft), aligned, sft)
    extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """One clear error from whichever thread meets it first, and no thread left waiting."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 512)
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[1]

    def full(descriptor: int, content: memoryview, offset: int) -> None:
        if offset >= 2048:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(part_file, "_write_all", full)
    with pytest.raises(PermanentError, match="the disk is full; make room"):
        write_shard(job, aligned, sft, tmp_path / "part")


def test_error_of_a_reader_ends_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 512)
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[1]

    def fail(self: Inputs, buffer: memoryview, file: str, offset: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(Inputs, "read_into", fail)
    with pytest.raises(OSError, match="input/output error"):
        write_shard(job, aligned, sft, tmp_path / "part", options=PassOptions(threads=8))


def test_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """Same size, other bytes, in the middle of the pass: nothing comes of it."""
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    victim = aligned.folder() / job.aligned_files[0]

    def touch(_: int) -> None:
        os.utime(victim, ns=(0, 0))

    with pytest.raises(MismatchError, match="changed since it was planned"):
        write_shard(job, aligned, sft, tmp_path / "part", advance=touch)


def test_file_cut_off_while_it_is_read(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    with Inputs(aligned, job.aligned_files) as inputs:
        os.truncate(aligned.folder() / job.aligned_files[0], 100)
        with pytest.raises(CorruptError, match="ends at byte 100, within a tensor"):
            inputs.read_into(memoryview(bytearray(200)), job.aligned_files[0], 0)


def test_plan_of_an_older_checkpoint(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    os.utime(sft.folder() / "config.json", ns=(0, 0))
    with pytest.raises(MismatchError, match="changed since it was planned"):
        write_shard(job, aligned, FolderSource(sft.folder()), tmp_path / "part")


@pytest.mark.parametrize("other", ["shard", "arithmetic", "nonfinite"])
def test_jobs_of_one_pass_share_all_but_alpha(tmp_path: Path, other: str) -> None:
    wanted, aligned, sft = pair(tmp_path)
    shards = make_plan(wanted, aligned, sft).shards
    if other != "shard":
        changed = wanted.model_copy(
            update={"arithmetic": "parity"} if other == "arithmetic" else {other: "allow"}
        )
        shards = (shards[0], make_plan(changed, aligned, sft).shards[0])
    with pytest.raises(InputError, match="may differ in alpha only"):
        write_shards(shards[:2], Parents(aligned, sft), [tmp_path / "one", tmp_path / "two"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    with pytest.raises(InputError, match="no CUDA device here; use 'cpu' or 'auto'"):
        write_shard(job, aligned, sft, tmp_path / "part", options=PassOptions(device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("settings", [{}, {"arithmetic": "parity"}, {"output_dtype": "float32"}])
@pytest.mark.parametrize("sft_dtype", [torch.bfloat16, torch.float32])
def test_cuda_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], sft_dtype: torch.dtype
) -> None:
    """At small α and at large ones, which lerp computes from the other end; streams take turns."""
    monkeypatch.setattr(shard_writer, "SLOT_BYTES", 4096)
    new = {f"t{n}": (0.02 * torch.randn(99, 501)).bfloat16() for n in range(3)}
    old = {name: (tensor.float() + 1e-3 * torch.randn(99, 501)).to(sft_dtype) for name, tensor in new.items()}
    aligned, sft = write_checkpoint(tmp_path / "aligned", new), write_checkpoint(tmp_path / "sft", old)
    recipes = [recipe(aligned, sft, alpha=alpha, **settings) for alpha in (0.3, 2.0)]
    jobs = [make_plan(recipe, aligned, sft).shards[0] for recipe in recipes]
    of: dict[Device, tuple[ShardReceipt, ...]] = {}
    devices: tuple[Device, ...] = ("cpu", "cuda")
    for device in devices:
        parts = [tmp_path / f"{device}-{number}" for number in range(len(jobs))]
        of[device] = write_shards(jobs, Parents(aligned, sft), parts, options=PassOptions(device=device))
    for cpu, cuda in zip(of["cpu"], of["cuda"], strict=True):
        assert cpu.sha256 == cuda.sha256
        for on_cpu, on_cuda in zip(cpu.statistics, cuda.statistics, strict=True):
            assert on_cpu.update_norm == pytest.approx(on_cuda.update_norm, rel=1e-5)
            assert on_cpu.cosine == pytest.approx(on_cuda.cosine, abs=1e-5)
            assert on_cpu.largest_update == on_cuda.largest_update


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_finds_bad_values(tmp_path: Path) -> None:
    aligned, sft = nonfinite_pair(tmp_path, "sft", torch.nan)
    job = make_plan(recipe(aligned, sft), aligned, sft).shards[0]
    with pytest.raises(CorruptError, match="'b': NaN or Inf"):
        write_shard(job, aligned, sft, tmp_path / "part", options=PassOptions(device="cuda"))
