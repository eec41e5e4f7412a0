"""What is in a checkpoint: its tensors by name and where their bytes lie, from headers alone."""

import json
import re
from collections.abc import Mapping

from tasks.errors import CorruptError, InputError
from tasks.stores.artefact import MANIFEST
from tasks.stores.source import Source
from tasks.values import Value
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


class CheckpointLayout(Value):
    """A checkpoint's tensors and files.

    tensors       by name, in the order of the weight files and of the bytes in each
    weight_files  the files that hold them, sorted
    side_files    what belongs to the model beside its weights: config, tokenizer, licence, …
    """

    tensors: dict[str, TensorRange]
    weight_files: tuple[str, ...]
    side_files: tuple[str, ...]


def read_checkpoint(source: Source) -> CheckpointLayout:
    """Reads the index and the headers of a checkpoint; nothing is downloaded whole or executed.

    Raises:
        InputError: the folder holds no weights in a form that can be read.
        CorruptError: an index or a header is damaged, or the two disagree.
    """
    files = source.files()
    weight_map = _weight_map(source)
    weight_files = tuple(sorted(set(weight_map.values()))) if weight_map else (SINGLE,)
    tensors: dict[str, TensorRange] = {}
    for file in weight_files:
        for name, tensor in read_header(source, file).items():
            if name in tensors:
                raise CorruptError(f"{file}: tensor {name!r} is in {tensors[name].file} as well; remove one")
            tensors[name] = tensor
    if weight_map:
        _check_index(weight_map, tensors)
    side_files = tuple(sorted(name for name in files if not NOT_SIDE.search(name) and name != MANIFEST))
    return CheckpointLayout(tensors=tensors, weight_files=weight_files, side_files=side_files)


def _weight_map(source: Source) -> dict[str, str]:
    """Tensor name → file, from the index; empty when one file holds everything."""
    files = source.files()
    if INDEX not in files:
        if SINGLE not in files:
            held = ", ".join(files) or "nothing"
            raise InputError(f"{source.checkpoint.uri}: no {INDEX} and no {SINGLE} in it; it holds {held}")
        return {}
    index = _json(source, INDEX)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError(f"{INDEX}: it has no weight_map; fetch the file again")
    for name, file in weight_map.items():
        # A listing has plain names only: this refuses `../x`, absolute paths and links out of the folder.
        if not isinstance(file, str) or file not in files:
            raise CorruptError(f"{INDEX}: tensor {name!r} is said to be in {file!r}, which is no file here")
    return weight_map


def _json(source: Source, name: str) -> object:
    size = source.files()[name].size
    if size > MAX_INDEX_BYTES:
        raise CorruptError(f"{name}: {size} bytes are too many for an index")
    try:
        return json.loads(source.read(name, 0, size))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{name}: no JSON ({error}); fetch the file again") from error


def _check_index(weight_map: Mapping[str, str], tensors: Mapping[str, TensorRange]) -> None:
    """The index and the headers must name the same tensors in the same files."""
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file != file:
            raise CorruptError(f"{INDEX}: tensor {name!r} is not in {file}; fetch both again")
    for name, tensor in tensors.items():
        if name not in weight_map:
            raise CorruptError(f"{tensor.file}: tensor {name!r} is not in {INDEX}; fetch both again")
