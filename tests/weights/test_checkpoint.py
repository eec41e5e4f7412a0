"""Every bad checkpoint is refused with one clear error, before anything is computed."""

import errno
import json
import struct
from pathlib import Path

import pytest
import torch

from tasks.core.errors import CorruptError, InputError
from tasks.stores.folder_source import FolderSource
from tasks.weights.checkpoint import read_checkpoint
from tests.weights.checkpoints import write_checkpoint

TENSORS = {f"t{n}": torch.arange(6.0).reshape(2, 3) + n for n in range(3)}


def write_header(folder: Path, header: bytes, data: bytes = b"") -> FolderSource:
    """A folder with one file of this header, taken as it is."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    return FolderSource(folder)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(folder: Path, entries: object, data: bytes, match: str) -> None:
    with pytest.raises(CorruptError, match=match):
        read_checkpoint(write_header(folder, json.dumps(entries).encode(), data))


def test_layout(tmp_path: Path) -> None:
    """Offsets point at the bytes; side files are what belongs to the model."""
    source = write_checkpoint(tmp_path, TENSORS, cuts=[2])
    for name in ("tokenizer.json", "README.md", "tf_model.h5", "optimizer.pt", "manifest.json", "LICENSE"):
        (tmp_path / name).write_text("{}")
    layout = read_checkpoint(FolderSource(tmp_path))
    assert layout.side_files == ("LICENSE", "config.json", "tokenizer.json")
    for name, tensor in layout.tensors.items():
        content = source.read(tensor.file, tensor.offset, tensor.nbytes)
        found = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(tensor.shape)
        assert torch.equal(found, TENSORS[name])


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS)
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    assert read_checkpoint(FolderSource(tmp_path)).form == "safetensors"


def test_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"it holds config\.json"):
        read_checkpoint(FolderSource(tmp_path))


def test_truncated_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"model\.safetensors: its tensors end at byte"):
        read_checkpoint(FolderSource(tmp_path))


def test_file_too_short_for_a_header(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x00\x01")
    with pytest.raises(CorruptError, match="fetch the file again"):
        read_checkpoint(FolderSource(tmp_path))


def test_git_lfs_pointer(tmp_path: Path) -> None:
    """What a clone without LFS leaves in the place of the weights."""
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(CorruptError, match=r"no safetensors file"):
        read_checkpoint(FolderSource(tmp_path))


def test_oversized_header(tmp_path: Path) -> None:
    """A header is not read into memory just because its length says so."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 200_000_000))
        file.truncate(300_000_000)
    with pytest.raises(CorruptError, match="a header of 200000000 bytes"):
        read_checkpoint(FolderSource(tmp_path))


def test_overlapping_tensors(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12), "'b' begins at byte")


def test_hole_between_tensors(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12), "'b' begins at byte")


def test_bytes_behind_the_tensors(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 4, [1])}, bytes(12), "its tensors end at byte")


def test_shape_that_is_not_its_bytes(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 4, [1000, 1000])}, bytes(4), "is 4000000 bytes, not 4")


def test_negative_shape(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 4, [-1, -1])}, bytes(4), "has the shape")


@pytest.mark.parametrize("shape", [[2**63], [10**4000] * 100, [1] * 65])
def test_shape_that_no_tensor_has(tmp_path: Path, shape: list[int]) -> None:
    """PyTorch knows neither such sizes nor so many; their product alone could take for ever."""
    refused(tmp_path, {"a": entry(0, 4, shape)}, bytes(4), "'a' has the shape")


def test_offsets_before_the_tensors(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(-4, 0, [1])}, bytes(4), "'a'")


def test_unknown_dtype(tmp_path: Path) -> None:
    refused(tmp_path, {"a": entry(0, 4, [1], "F31")}, bytes(4), "unknown dtype 'F31'")


def test_entry_without_shape(tmp_path: Path) -> None:
    refused(tmp_path, {"a": {"dtype": "F32"}}, b"", "is not dtype, shape and data_offsets")


def test_header_that_is_no_object(tmp_path: Path) -> None:
    refused(tmp_path, [1, 2], b"", "no JSON object")


def test_deeply_nested_header(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="no JSON"):
        read_checkpoint(write_header(tmp_path, b"[" * 100_000))


def test_name_twice_in_a_header(tmp_path: Path) -> None:
    value = json.dumps(entry(0, 4, [1])).encode()
    with pytest.raises(CorruptError, match="a name appears twice"):
        read_checkpoint(write_header(tmp_path, b'{"a": %s, "a": %s}' % (value, value), bytes(4)))


def test_tensor_in_two_files(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, cuts=[2])
    first, second = sorted(tmp_path.glob("*.safetensors"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(CorruptError, match=r"'t0' is in model-00001-of-00002\.safetensors as well"):
        read_checkpoint(FolderSource(tmp_path))


def rewrite_index(folder: Path, name: str, file: object) -> FolderSource:
    write_checkpoint(folder, TENSORS, cuts=[2])
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][name] = file
    index.write_text(json.dumps(content))
    return FolderSource(folder)


def test_tensor_missing_from_its_file(tmp_path: Path) -> None:
    source = rewrite_index(tmp_path, "t9", "model-00001-of-00002.safetensors")
    with pytest.raises(CorruptError, match=r"'t9' is not in model-00001-of-00002\.safetensors"):
        read_checkpoint(source)


@pytest.mark.parametrize(
    "file", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "", 7, None, "model-00009.safetensors"]
)
def test_index_that_names_another_place(tmp_path: Path, file: object) -> None:
    """An index is data of strangers: only plain names of the folder are followed."""
    write_checkpoint(tmp_path, TENSORS)
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(CorruptError, match="which is no file here"):
        read_checkpoint(rewrite_index(tmp_path / "inner", "t0", file))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_link_that_leaves_the_folder(tmp_path: Path, name: str) -> None:
    """Followed, a downloaded checkpoint could have any file of this machine copied and published."""
    write_checkpoint(tmp_path / "inner", TENSORS)
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "inner" / name).unlink(missing_ok=True)
    (tmp_path / "inner" / name).symlink_to("../secret")
    with pytest.raises(
        InputError, match=rf"{name}: a link to {tmp_path}/secret, outside of the folder; copy"
    ):
        FolderSource(tmp_path / "inner")


def test_links_that_stay(tmp_path: Path) -> None:
    """Inside the folder, and from a snapshot of the Hub client's cache to its blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "4f2a"
    source = write_checkpoint(blobs, TENSORS)
    snapshot.mkdir(parents=True)
    for name in source.files():
        (snapshot / name).symlink_to(Path("..", "..", "blobs", name))
    (snapshot / "LICENSE").symlink_to("config.json")
    (tmp_path / "link").symlink_to(snapshot)
    layout = read_checkpoint(FolderSource(tmp_path / "link"))
    assert layout.tensors == read_checkpoint(source).tensors
    assert layout.side_files == ("LICENSE", "config.json")


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, TENSORS)

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"config\.json: it may not be read by this user"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_damaged_index(tmp_path: Path, content: str) -> None:
    write_checkpoint(tmp_path, TENSORS, cuts=[2])
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CorruptError, match=r"model\.safetensors\.index\.json"):
        read_checkpoint(FolderSource(tmp_path))
