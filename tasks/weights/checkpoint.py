"""What is in a checkpoint: its tensors by name and where their bytes lie, from headers alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.archive import read_archive
from tasks.weights.headers import TensorRange, read_header
from tasks.weights.side_files import side_files
from tasks.weights.unreadable import check_no_pointer, unread_weights, why_no_weights

__all__ = ["INDEX", "CheckpointLayout", "read_checkpoint"]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_INDEX_BYTES = 100_000_000


class _Form(NamedTuple):
    """How weights are kept: the names of the index and of a lone file, and who reads a file's header."""

    name: Literal["safetensors", "pickle"]
    index_file: str
    single: str
    read: Callable[[Source, str], dict[str, TensorRange]]


FORMS = (
    _Form("safetensors", INDEX, SINGLE, read_header),
    _Form("pickle", "pytorch_model.bin.index.json", "pytorch_model.bin", read_archive),
)


class CheckpointLayout(Value):
    """A checkpoint's tensors and files.

    form          "safetensors", or "pickle" for PyTorch's `.bin`
    tensors       by name, in the order of the weight files and of the bytes in each
    weight_files  the files that hold them, sorted
    side_files    what belongs to the model beside its weights: config, tokenizer, license, …
    left_out      the other files of the folder: a trainer's leftovers, other forms of the weights, …
    notices       which files count where the folder has more than one answer
    """

    form: Literal["safetensors", "pickle"]
    tensors: dict[str, TensorRange]
    weight_files: tuple[str, ...]
    side_files: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def read_checkpoint(source: Source) -> CheckpointLayout:
    """Reads the index and the headers of a checkpoint; nothing is downloaded whole or executed.

    Where a checkpoint has both forms, safetensors is read. A whole file goes before an index whose
    shards are not there, as for transformers.

    Raises:
        InputError: the folder holds no weights in a form that can be read, or two sets of them.
        CorruptError: an index or a header is damaged, or the two disagree.
    """
    files = source.files()
    form = next((form for form in FORMS if form.index_file in files or form.single in files), None)
    if form is None:
        raise InputError(why_no_weights(source))
    weight_map, notices = _indexed(source, form)
    weight_files = tuple(sorted(set(weight_map.values()))) or (form.single,)
    tensors: dict[str, TensorRange] = {}
    for file in weight_files:
        check_no_pointer(source, file)
        for name, tensor in form.read(source, file).items():
            if name in tensors:
                raise CorruptError(f"{file}: tensor {name!r} is in {tensors[name].file} as well; remove one")
            tensors[name] = tensor
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file != file:
            raise CorruptError(f"{form.index_file}: tensor {name!r} is not in {file}; fetch both again")
    beside = side_files(files)
    others = sorted(set(files) - {*beside, *weight_files, INDEX, form.index_file})
    return CheckpointLayout(
        form=form.name,
        tensors=tensors,
        weight_files=weight_files,
        side_files=beside,
        left_out=tuple(others),
        notices=(*notices, *unread_weights(others)),
    )


def _indexed(source: Source, form: _Form) -> tuple[dict[str, str], tuple[str, ...]]:
    """Tensor name → file, empty where the whole file counts; and what to say of the choice.

    Raises:
        InputError: a whole file lies beside the shards of an index: programs differ in which they load.
    """
    files = source.files()
    if form.index_file not in files:
        return {}, ()
    weight_map = _weight_map(source, form.index_file)
    if form.single not in files or set(weight_map.values()) == {form.single}:
        _check_files(source, form, weight_map)
        return weight_map, ()
    if any(file in files for file in weight_map.values()):
        raise InputError(
            f"{form.single} lies beside the shards of {form.index_file}: transformers loads the first, "
            "vLLM the second; remove the one that is not meant"
        )
    return {}, (f"{form.index_file} names shards that are not there; {form.single} is read",)


def _check_files(source: Source, form: _Form, weight_map: dict[str, str]) -> None:
    index, suffix = form.index_file, Path(form.single).suffix
    for name, file in weight_map.items():
        # A listing has plain names only: this refuses `../x`, absolute paths and links out of the folder.
        if file not in source.files():
            raise CorruptError(f"{index}: tensor {name!r} is said to be in {file!r}, which is no file here")
        if not file.endswith(suffix):  # the output's shards have these names
            raise CorruptError(
                f"{index}: tensor {name!r} is said to be in {file!r}, which is no {suffix} file"
            )


def _weight_map(source: Source, index: str) -> dict[str, str]:
    """Tensor name → file, from the index."""
    size = source.files()[index].size
    if size > MAX_INDEX_BYTES:
        raise CorruptError(f"{index}: {size} bytes are too many for an index")
    check_no_pointer(source, index)
    try:
        content = json.loads(source.read(index, 0, size))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{index}: no JSON ({error}); fetch the file again") from error
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError(f"{index}: it has no weight_map; fetch the file again")
    for name, file in weight_map.items():
        if not isinstance(file, str):
            raise CorruptError(f"{index}: tensor {name!r} is said to be in {file!r}, which is no file here")
    return weight_map
