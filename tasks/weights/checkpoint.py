"""What is in a checkpoint: its tensors by name and where their bytes lie, from headers alone."""

import json
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import Value
from tasks.stores.artefact import MANIFEST
from tasks.stores.source import Source
from tasks.weights.archive import read_archive
from tasks.weights.headers import TensorRange, read_header

__all__ = ["INDEX", "CheckpointLayout", "read_checkpoint"]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

# Weights in other forms, the training's leftovers and the hub's own files: no part of a model folder.
NOT_SIDE = re.compile(
    r"\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|gguf|onnx|onnx_data|npz|tflite|ot)$"
    r"|\.index\.json$|^\.|^README\.md$|^events\.out\."
)
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
    side_files    what belongs to the model beside its weights: config, tokenizer, licence, …
    """

    form: Literal["safetensors", "pickle"]
    tensors: dict[str, TensorRange]
    weight_files: tuple[str, ...]
    side_files: tuple[str, ...]


def read_checkpoint(source: Source) -> CheckpointLayout:
    """Reads the index and the headers of a checkpoint; nothing is downloaded whole or executed.

    Where a checkpoint has both forms, safetensors is read.

    Raises:
        InputError: the folder holds no weights in a form that can be read.
        CorruptError: an index or a header is damaged, or the two disagree.
    """
    files = source.files()
    form = next((form for form in FORMS if form.index_file in files or form.single in files), None)
    if form is None:
        held = ", ".join(files) or "nothing"
        raise InputError(f"{source.checkpoint.uri}: no {SINGLE} or {INDEX} in it, nor .bin; it holds {held}")
    weight_map = _weight_map(source, form.index_file) if form.index_file in files else {}
    weight_files = tuple(sorted(set(weight_map.values()))) or (form.single,)
    tensors: dict[str, TensorRange] = {}
    for file in weight_files:
        for name, tensor in form.read(source, file).items():
            if name in tensors:
                raise CorruptError(f"{file}: tensor {name!r} is in {tensors[name].file} as well; remove one")
            tensors[name] = tensor
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file != file:
            raise CorruptError(f"{form.index_file}: tensor {name!r} is not in {file}; fetch both again")
    return CheckpointLayout(
        form=form.name,
        tensors=tensors,
        weight_files=weight_files,
        side_files=tuple(sorted(name for name in files if not NOT_SIDE.search(name) and name != MANIFEST)),
    )


def _weight_map(source: Source, index: str) -> dict[str, str]:
    """Tensor name → file, from the index."""
    size = source.files()[index].size
    if size > MAX_INDEX_BYTES:
        raise CorruptError(f"{index}: {size} bytes are too many for an index")
    try:
        content = json.loads(source.read(index, 0, size))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{index}: no JSON ({error}); fetch the file again") from error
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError(f"{index}: it has no weight_map; fetch the file again")
    for name, file in weight_map.items():
        # A listing has plain names only: this refuses `../x`, absolute paths and links out of the folder.
        if not isinstance(file, str) or file not in source.files():
            raise CorruptError(f"{index}: tensor {name!r} is said to be in {file!r}, which is no file here")
    return weight_map
