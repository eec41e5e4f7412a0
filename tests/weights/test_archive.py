"""`.bin` files: read as PyTorch would, without PyTorch, and refused when they are not what they seem."""

import io
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.core.errors import CorruptError
from tasks.stores.folder_source import FolderSource
from tasks.weights import archive
from tasks.weights.checkpoint import read_checkpoint
from tests.weights.checkpoints import write_pickles

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "I64": torch.int64}


def saved(folder: Path, content: object) -> FolderSource:
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / "pytorch_model.bin")
    return FolderSource(folder)


def loaded(source: FolderSource) -> dict[str, Tensor]:
    """Every tensor by the ranges that were found."""
    tensors = {}
    for name, entry in read_checkpoint(source).tensors.items():
        content = bytearray(source.read(entry.file, entry.offset, entry.nbytes))
        flat = torch.frombuffer(content, dtype=DTYPES[entry.dtype]) if content else torch.empty(0)
        tensors[name] = flat.to(DTYPES[entry.dtype]).reshape(entry.shape)
    return tensors


def refused(source: FolderSource, match: str) -> None:
    with pytest.raises(CorruptError, match=match) as caught:
        read_checkpoint(source)
    assert "pytorch_model.bin" in str(caught.value)


@settings(max_examples=40)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=6),
    dtypes=st.lists(st.sampled_from(list(DTYPES.values())), min_size=6, max_size=6),
    cuts=st.sets(st.integers(1, 5)),
)
def test_ranges_are_what_pytorch_loads(
    shapes: list[list[int]], dtypes: list[torch.dtype], cuts: set[int]
) -> None:
    tensors = {
        f"t{n}": torch.randn(shape).mul(9).to(dtype)
        for n, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    with tempfile.TemporaryDirectory() as folder:
        found = loaded(write_pickles(Path(folder), tensors, sorted(cuts)))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert all(found[name].dtype == tensors[name].dtype for name in tensors)


def test_module_with_parameters_and_tied_weights(tmp_path: Path) -> None:
    """A state dict as a module gives it, with version notes; parameters; two names for one storage."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 4))
    state = module.state_dict(keep_vars=True)
    state["tied"] = state["0.weight"]
    found = loaded(saved(tmp_path, state))
    assert all(torch.equal(found[name], state[name]) for name in state)
    layout = read_checkpoint(FolderSource(tmp_path))
    assert layout.tensors["tied"] == layout.tensors["0.weight"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model.bin", pickle_protocol=protocol)
    assert torch.equal(loaded(FolderSource(tmp_path))["a"], torch.ones(3))


def test_view_of_a_larger_storage(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    assert torch.equal(loaded(saved(tmp_path, {"a": whole[1:3]}))["a"], whole[1:3])


def test_transposed_tensor(tmp_path: Path) -> None:
    refused(saved(tmp_path, {"a": torch.ones(3, 4).t()}), "'a'.*strides.*save the model as safetensors")


def test_storage_expanded_to_terabytes(tmp_path: Path) -> None:
    refused(saved(tmp_path, {"a": torch.ones(1).expand(10**6, 10**6)}), "'a'.*strides")


class Attack:
    """Runs a command wherever it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path("executed").touch, ())


def test_malicious_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(saved(tmp_path, {"a": Attack()}), "may be an attack|which no state dict needs")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "called", [b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nload\n", b"ccollections\nOrderedDict\n"]
)
def test_calls_with_arguments_of_their_own(tmp_path: Path, called: bytes) -> None:
    pack(tmp_path, b"\x80\x02" + called + b"X\x01\x00\x00\x00x\x85R.")
    refused(FolderSource(tmp_path), "may be an attack")


def pack(folder: Path, content: bytes, method: int = zipfile.ZIP_STORED, record: bytes = bytes(12)) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", method) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", record)


def state_pickle(elements: int, shape: tuple[int, ...]) -> bytes:
    """A state dict of one fp32 tensor over record 0."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", elements) if obj is marker else None

    class Rebuild:
        def __reduce__(self) -> tuple[object, ...]:
            strides = tuple(torch.empty(shape, device="meta").stride())
            return torch._utils._rebuild_tensor_v2, (marker, 0, shape, strides, False, {})

    marker = object()
    content = io.BytesIO()
    Pickler(content, protocol=2).dump({"a": Rebuild()})
    return content.getvalue()


# The tuples () → (t,) → ((t,),) … and () → (t, t) → ((t, t), (t, t)) …, as keys, names and shapes.
DEEP, ENTANGLED = b")" + b"\x85" * 200_000, b")" + b"q\x00h\x00h\x00\x86" * 99


@pytest.mark.parametrize("tuples", [DEEP, ENTANGLED], ids=["deep", "entangled"])
@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02}%sK\x01s.",  # {t: 1}
        b"\x80\x02}(%sK\x01u.",  # the same by SETITEMS
        b"\x80\x02}X\x01\x00\x00\x00a%ss.",  # {"a": t}
        b"\x80\x02%sQ.",  # a storage that is named so
        b"\x80\x04%sX\x01\x00\x00\x00a\x93)R.",  # a call of t.a
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(%s)R.",
    ],
)
def test_tuples_that_overflow_the_stack_or_never_end(tmp_path: Path, pickled: bytes, tuples: bytes) -> None:
    """Hashing so many nested tuples ends the process, printing 2**99 elements never ends."""
    pack(tmp_path, pickled % tuples)
    refused(FolderSource(tmp_path), "the pickle|state dict")


@pytest.mark.parametrize("repeated", [b"}", b"}\x94", b"\x94"], ids=["dicts", "kept dicts", "notes"])
def test_ten_megabytes_of_instructions_take_bounded_memory(tmp_path: Path, repeated: bytes) -> None:
    """Without a limit they took 700 MB, and a hundred took ten times that: each byte makes an object."""
    pack(tmp_path, b"\x80\x04}" + repeated * (10_000_000 // len(repeated)) + b".")
    code = (
        "import resource, sys; from pathlib import Path; from tasks.core.errors import CorruptError\n"
        "from tasks.stores.folder_source import FolderSource\n"
        "from tasks.weights.checkpoint import read_checkpoint\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_checkpoint(FolderSource(Path(sys.argv[1])))\n"
        "except CorruptError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    said, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "more than 4,000,000 instructions" in said
    assert int(megabytes) < 600


@pytest.mark.parametrize("shape", [(2**80,), (1,) * 65])
def test_shape_that_no_tensor_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    numbers = pickle.dumps(shape, protocol=2)[2:-1]
    tensor = rebuild + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQK\x00" + numbers * 2 + b"tR"
    pack(tmp_path, b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s.")
    refused(FolderSource(tmp_path), "a tensor of shape")


def test_record_as_it_should_be(tmp_path: Path) -> None:
    """The hand-made archives of the tests below differ from a good one in one thing."""
    pack(tmp_path, state_pickle(3, (3,)))
    assert torch.equal(loaded(FolderSource(tmp_path))["a"], torch.zeros(3))


def test_compressed_record(tmp_path: Path) -> None:
    """A compressed record read in place would be garbage."""
    pack(tmp_path, state_pickle(3000, (3000,)), zipfile.ZIP_DEFLATED, bytes(12000))
    refused(FolderSource(tmp_path), "is compressed")


def test_storage_that_claims_more_than_its_record(tmp_path: Path) -> None:
    pack(tmp_path, state_pickle(10**12, (10**12,)))
    refused(FolderSource(tmp_path), "'a': its storage is 1000000000000 elements of 4 bytes, its record 12")


def test_tensor_beyond_its_storage(tmp_path: Path) -> None:
    pack(tmp_path, state_pickle(3, (4,)))
    refused(FolderSource(tmp_path), "'a': it reaches beyond its storage")


def test_missing_record(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as file:
        file.writestr("archive/data.pkl", state_pickle(3, (3,)))
    refused(FolderSource(tmp_path), "'a': no record data/0")


def test_record_name_twice(tmp_path: Path) -> None:
    pack(tmp_path, state_pickle(3, (3,)))
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "pytorch_model.bin", "a") as file:
        file.writestr("archive/data/0", bytes(12))
    refused(FolderSource(tmp_path), r"not what torch\.save writes")


def test_directory_that_points_elsewhere(tmp_path: Path) -> None:
    pack(tmp_path, state_pickle(3, (3,)))
    file = tmp_path / "pytorch_model.bin"
    content = bytearray(file.read_bytes())
    offset = content.rindex(b"PK\x01\x02") + 42
    content[offset : offset + 4] = struct.pack("<I", 5)
    file.write_bytes(content)
    refused(FolderSource(tmp_path), "not where the directory says|no zip archive")


def test_big_endian(tmp_path: Path) -> None:
    pack(tmp_path, state_pickle(3, (3,)))
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "a") as file:
        file.writestr("archive/byteorder", "big")
    refused(FolderSource(tmp_path), "not little-endian")


def test_no_state_dict(tmp_path: Path) -> None:
    refused(saved(tmp_path, {"step": 7}), "entry 'step' is no tensor")
    refused(saved(tmp_path, torch.ones(3)), "holds no state dict")


def test_old_format(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    refused(FolderSource(tmp_path), "older than PyTorch 1.6")


def test_oversized_structure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, {"a": torch.ones(3)})
    monkeypatch.setattr(archive, "MAX_STRUCTURE_BYTES", 300)
    refused(source, "larger than 300 bytes")


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c[:100], lambda c: c[:0], lambda c: c[: len(c) // 2]]
)
def test_truncated_archive(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source = saved(tmp_path, {"a": torch.ones(300)})
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(damage(file.read_bytes()))
    refused(FolderSource(source.folder()), "pytorch_model.bin")


@pytest.mark.slow
@settings(max_examples=200)
@given(position=st.integers(0, 700), value=st.integers(0, 255))
def test_flipped_bytes_never_escape(position: int, value: int) -> None:
    """Whatever a damaged archive or pickle says, the answer is a description or a CorruptError."""
    with tempfile.TemporaryDirectory() as name:
        pack(Path(name), state_pickle(3, (3,)))
        file = Path(name) / "pytorch_model.bin"
        content = bytearray(file.read_bytes())
        content[position % len(content)] = value
        file.write_bytes(content)
        try:
            layout = read_checkpoint(FolderSource(Path(name)))
        except CorruptError:
            return
        size = (Path(name) / "pytorch_model.bin").stat().st_size
        assert all(tensor.offset + tensor.nbytes <= size for tensor in layout.tensors.values())
