"""Weights, headers and indices from outside: whatever bytes are changed, the answer is in words."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import ExpoError
from tasks.stores.folder_source import FolderSource
from tasks.weights.checkpoint import read_checkpoint
from tests.weights.checkpoints import write_checkpoint, write_pickles

TARGETS = {
    "header": ("safetensors", "model-00001-of-00002.safetensors"),
    "index": ("safetensors", "model.safetensors.index.json"),
    "pickle": ("pickles", "pytorch_model-00001-of-00002.bin"),
    "index of pickles": ("pickles", "pytorch_model.bin.index.json"),
}


@cache
def _checkpoint(form: str) -> Mapping[str, bytes]:
    """The files of a small checkpoint."""
    tensors = {f"layers.{number}.weight": torch.ones(3, 2) for number in range(3)}
    with TemporaryDirectory() as folder:
        write = write_checkpoint if form == "safetensors" else write_pickles
        write(Path(folder), tensors, [1])
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.slow
@given(target=st.sampled_from(sorted(TARGETS)), data=st.data())
def test_changed_bytes_are_refused_in_words(target: str, data: st.DataObject) -> None:
    """A layout that lies within its files, or an ExpoError; never another exception."""
    form, name = TARGETS[target]
    files = dict(_checkpoint(form))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with TemporaryDirectory() as folder:
        for other, held in files.items():
            (Path(folder) / other).write_bytes(bytes(content) if other == name else held)
        with suppress(ExpoError):
            layout = read_checkpoint(FolderSource(Path(folder)))
            for tensor in layout.tensors.values():
                end = (Path(folder) / tensor.file).stat().st_size
                assert tensor.offset >= 0
                assert tensor.offset <= end
