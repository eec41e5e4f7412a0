"""The whole job on small checkpoints: the right numbers, the right files, and again after a kill."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.core.errors import CorruptError, InputError, MismatchError, PermanentError
from tasks.stores.artefact import Artefact, Store
from tasks.stores.disk import sha256_of
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source, reopen
from tasks.weights.extrapolation import extrapolate, extrapolate_all
from tasks.weights.folder import finished_shard, put_shard
from tasks.weights.inputs import Inputs
from tasks.weights.manifest import Manifest
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.shard_writer import write_shard, write_shards
from tasks.weights.verify import verify
from tests.weights.checkpoints import Tensors, pair, read_tensors, recipe, write_checkpoint
from tests.weights.reference import reference

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
FLOATS = st.sampled_from(list(DTYPES.values()))


def oracle(new: Tensors, old: Tensors, settings: Recipe) -> dict[str, Tensor]:
    """The formula over whole tensors: fp32, rounded once; or the authors' bf16."""
    out = {}
    for name in new:
        dtype = DTYPES[settings.output_dtype] if settings.output_dtype else new[name].dtype
        dtype = torch.bfloat16 if settings.arithmetic == "parity" else dtype
        sides = new[name].flatten(), old[name].flatten()
        out[name] = reference(*sides, settings.alpha, settings.arithmetic, dtype).reshape(new[name].shape)
    return out


@st.composite
def two_checkpoints(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of equal names and shapes (0-d ones too; empty ones are refused), of any dtype on each side."""
    shapes = draw(st.lists(st.lists(st.integers(1, 9), max_size=3), min_size=1, max_size=7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))

    def side() -> dict[str, Tensor]:
        return {
            f"t{n}": torch.randn(shape, generator=generator).to(draw(FLOATS))
            for n, shape in enumerate(shapes)
        }

    return side(), side()


@pytest.mark.slow
@settings(max_examples=60)
@given(
    tensors=two_checkpoints(),
    cuts=st.tuples(st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6))),
    alpha=st.floats(-2, 9, width=32),
    arithmetic=st.sampled_from(["fp32", "parity"]),
    shard_bytes=st.none() | st.integers(1, 2000),
)
def test_streamed_equals_oracle(
    tensors: tuple[Tensors, Tensors],
    cuts: tuple[set[int], set[int]],
    alpha: float,
    arithmetic: str,
    shard_bytes: int | None,
) -> None:
    """Whatever the shapes, dtypes and shard cuts of the two sides, the bits are the formula's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        aligned = write_checkpoint(folder / "aligned", tensors[0], sorted(cuts[0]))
        sft = write_checkpoint(folder / "sft", tensors[1], sorted(cuts[1]))
        wanted = recipe(aligned, sft, alpha=alpha, arithmetic=arithmetic, shard_bytes=shard_bytes)
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(folder / "out")))
        found = read_tensors(folder / "out")
    expected = oracle(*tensors, wanted)
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key].dtype == expected[key].dtype, key
        assert torch.equal(found[key], expected[key]), key


@pytest.mark.parametrize("output_dtype", DTYPES)
def test_output_dtype(tmp_path: Path, output_dtype: str) -> None:
    wanted, aligned, sft = pair(tmp_path, output_dtype=output_dtype)
    extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    expected = oracle(read_tensors(aligned.folder()), read_tensors(sft.folder()), wanted)
    found = read_tensors(tmp_path / "out")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {tensor.dtype for tensor in found.values()} == {DTYPES[output_dtype]}


def test_model_folder_is_whole(tmp_path: Path) -> None:
    """Every file is in the manifest with its digest; nothing of the making is left."""
    wanted, aligned, sft = pair(tmp_path)
    advanced: list[int] = []
    plan = make_plan(wanted, aligned, sft)
    out = tmp_path / "out"
    manifest = extrapolate(plan, aligned, sft, Artefact(str(out)), advance=advanced.append)
    assert {file.name: file.sha256 for file in manifest.files} == {
        path.name: sha256_of(path) for path in out.iterdir() if path.name != "manifest.json"
    }
    assert Manifest.model_validate_json((out / "manifest.json").read_bytes()) == manifest
    assert (out / "config.json").read_bytes() == (aligned.folder() / "config.json").read_bytes()
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == read_tensors(out).keys()
    assert plan.output_bytes == sum(path.stat().st_size for path in out.glob("*.safetensors"))
    assert sum(advanced) == plan.output_bytes


def test_several_alphas_in_one_pass(tmp_path: Path) -> None:
    """One pass over the inputs writes what one pass for each α writes."""
    alphas = (0.1, 0.5, 8.0)
    wanted, aligned, sft = pair(tmp_path)
    recipes = [wanted.model_copy(update={"alpha": alpha}) for alpha in alphas]
    shards = [make_plan(recipe, aligned, sft).shards[0] for recipe in recipes]
    parts = [tmp_path / f"{alpha}.safetensors" for alpha in alphas]
    together = write_shards(shards, Parents(aligned, sft), parts)
    alone = [write_shard(shard, aligned, sft, tmp_path / "alone") for shard in shards]
    assert list(together) == alone
    assert [sha256_of(part) for part in parts] == [receipt.sha256 for receipt in alone]


def test_models_at_several_alphas(tmp_path: Path) -> None:
    """One pass makes the models that one job for each α makes; what is finished of some is kept."""
    wanted, aligned, sft = pair(tmp_path)
    alphas = (0.1, 0.3, 8.0)
    plans = [make_plan(wanted.model_copy(update={"alpha": alpha}), aligned, sft) for alpha in alphas]
    alone = [
        extrapolate(plan, aligned, sft, Artefact(str(tmp_path / f"alone-{plan.recipe.alpha}")))
        for plan in plans
    ]
    models = [Artefact(str(tmp_path / f"together-{alpha}")) for alpha in alphas]
    extrapolate(plans[1], aligned, sft, models[1])  # whole
    job, part = plans[2].shards[0], models[2].scratch() / "part"
    put_shard(write_shard(job, aligned, sft, part), part, models[2])  # begun
    kept = [tmp_path / "together-0.3" / "manifest.json", tmp_path / "together-8.0" / job.file]
    before = [path.stat().st_mtime_ns for path in kept]
    advanced: list[int] = []
    assert list(extrapolate_all(plans, Parents(aligned, sft), models, advance=advanced.append)) == alone
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert sum(advanced) == sum(plan.output_bytes for plan in plans)
    for plan, model in zip(plans, models, strict=True):
        assert verify(open_source(model.uri), reopen, "all").differences == ()
        assert extrapolate(plan, aligned, sft, model)


def test_inputs_of_several_alphas_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, aligned, sft = pair(tmp_path)
    read: list[int] = []
    read_into = Inputs.read_into

    def counted(self: Inputs, buffer: memoryview, file: str, offset: int) -> None:
        read.append(len(buffer))
        read_into(self, buffer, file, offset)

    monkeypatch.setattr(Inputs, "read_into", counted)
    plans = [make_plan(wanted.model_copy(update={"alpha": alpha}), aligned, sft) for alpha in (0.1, 0.3)]
    extrapolate_all(plans, Parents(aligned, sft), [Artefact(str(tmp_path / name)) for name in "ab"])
    assert sum(read) == sum(tensor.nbytes for side in (aligned, sft) for tensor in tensors_of(side))


def tensors_of(source: FolderSource) -> list[Tensor]:
    return list(read_tensors(source.folder()).values())


def test_finished_shard_is_not_done_again(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    model = Artefact(str(tmp_path / "out"))
    receipt = write_shard(job, aligned, sft, model.scratch() / "part")
    put_shard(receipt, model.scratch() / "part", model)
    assert finished_shard(job, model) == receipt


def test_receipt_alone_is_not_trusted(tmp_path: Path) -> None:
    """A flipped byte, or another recipe's shard, is not taken for finished."""
    wanted, aligned, sft = pair(tmp_path)
    job = make_plan(wanted, aligned, sft).shards[0]
    model = Artefact(str(tmp_path / "out"))
    put_shard(write_shard(job, aligned, sft, model.scratch() / "part"), model.scratch() / "part", model)
    other = make_plan(wanted.model_copy(update={"alpha": 0.4}), aligned, sft).shards[0]
    assert finished_shard(other, model) is None
    shard = tmp_path / "out" / job.file
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert finished_shard(job, model) is None


def test_whole_model_is_returned(tmp_path: Path) -> None:
    wanted, aligned, sft = pair(tmp_path)
    plan, model = make_plan(wanted, aligned, sft), Artefact(str(tmp_path / "out"))
    first = extrapolate(plan, aligned, sft, model)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert extrapolate(plan, aligned, sft, model) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


@pytest.mark.parametrize("fault", ["another content", "missing"])
def test_a_rerun_believes_no_file_by_its_name(tmp_path: Path, store: Store, fault: str) -> None:
    wanted, aligned, sft = pair(tmp_path)
    plan, model = make_plan(wanted, aligned, sft), store.artefact("models", wanted.fingerprint[:16])
    whole = extrapolate(plan, aligned, sft, model)
    assert extrapolate(plan, aligned, sft, model) == whole
    name, size = whole.files[0].name, whole.files[0].size
    model.remove(name)
    if fault == "another content":
        model.write(name, bytes(size))
    with pytest.raises(CorruptError, match=rf"{name}: missing, or not the file .* extrapolate again"):
        extrapolate(plan, aligned, sft, model)


def test_target_that_is_a_parent_is_refused(tmp_path: Path) -> None:
    """All of its names are those of a model in the making, and yet nothing may be replaced."""
    wanted, aligned, sft = pair(tmp_path)
    before = read_tensors(aligned.folder())
    with pytest.raises(InputError, match="overlaps with the checkpoint"):
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(aligned.folder())))
    after = read_tensors(aligned.folder())
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_failure_of_one_shard_ends_the_others(tmp_path: Path) -> None:
    """No shard is begun after a failure, and that failure is raised."""
    wanted, aligned, sft = pair(tmp_path)
    plan = make_plan(wanted, aligned, sft)
    (sft.folder() / plan.shards[0].sft_files[0]).unlink()
    with pytest.raises((OSError, MismatchError)):
        extrapolate(plan, aligned, sft, Artefact(str(tmp_path / "out")), options=PassOptions(workers=1))
    assert not Artefact(str(tmp_path / "out")).names()


def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before the first shard, though each alone would fit; what is there already needs none."""
    wanted, aligned, sft = pair(tmp_path)
    plan, model = make_plan(wanted, aligned, sft), Artefact(str(tmp_path / "out"))
    usage = shutil.disk_usage(tmp_path)._replace(free=plan.output_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PermanentError, match="make room, then run again"):
        extrapolate(plan, aligned, sft, model)
    assert not model.names()
    job, part = plan.shards[0], model.scratch() / "part"
    put_shard(write_shard(job, aligned, sft, part), part, model)
    assert extrapolate(plan, aligned, sft, model)


@pytest.mark.parametrize("held", ["notes.txt", "manifest.json"])
def test_folder_of_something_else_is_refused(tmp_path: Path, held: str) -> None:
    wanted, aligned, sft = pair(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / held).write_text("{}")
    with pytest.raises(InputError, match="give an empty"):
        extrapolate(make_plan(wanted, aligned, sft), aligned, sft, Artefact(str(tmp_path / "out")))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [held]
