"""One side of a pair as it is planned with: its tensors, its config, and what it is called in messages."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from tasks.core.errors import CorruptError, InputError, PermanentError
from tasks.stores.source import Source
from tasks.weights.checkpoint import CheckpointLayout, read_checkpoint
from tasks.weights.configuration import read_config
from tasks.weights.headers import TensorRange

__all__ = ["Side", "is_same_checkpoint", "naming_side", "read_side"]

# What torch.compile, FSDP and activation checkpointing put into names, and what wraps a whole model.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_INNER = re.compile(rf"(^|(?<=\.))({'|'.join(WRAPPERS)})\.")
_OUTER = ("module.", "base_model.model.")


class Side(NamedTuple):
    """A checkpoint of a pair.

    name     what messages call it
    tensors  by the names under which they are paired, without what a trainer's wrappers put in front
    config   the content of config.json; None where there is none (or, on the SFT side, none that can be read)
    notices  what was done to read it
    """

    name: Literal["aligned", "SFT"]
    source: Source
    layout: CheckpointLayout
    tensors: dict[str, TensorRange]
    config: dict[str, Any] | None
    notices: tuple[str, ...]

    @property
    def words(self) -> str:
        """The side and its checkpoint, for a message."""
        return f"the {self.name} checkpoint {self.source.checkpoint.uri}"


def read_side(name: Literal["aligned", "SFT"], source: Source) -> Side:
    """Reads a checkpoint's headers and config.

    Raises:
        InputError, CorruptError: as `read_checkpoint`; the message names the side and the checkpoint.
        CorruptError: the aligned side's config.json is damaged.
    """
    with naming_side(name, source):
        layout = read_checkpoint(source)
        notices = list(layout.notices)
        try:
            config = read_config(source)
        except CorruptError:
            if name == "aligned":
                raise
            config = None
        tensors, wrapper = _unwrapped(layout.tensors)
    if wrapper:
        notices.append(f"{name}: names are taken without {wrapper!r}, which a trainer's wrapper put there")
    return Side(name, source, layout, tensors, config, tuple(notices))


def is_same_checkpoint(aligned: Side, sft: Side) -> bool:
    """Whether the two are one checkpoint, or their sources state the same sha256 for all weight files."""
    if aligned.source.checkpoint == sft.source.checkpoint:
        return True
    digests = [
        {side.source.files()[file].sha256 for file in side.layout.weight_files} for side in (aligned, sft)
    ]
    return digests[0] == digests[1] and None not in digests[0]


@contextmanager
def naming_side(name: str, source: Source) -> Iterator[None]:
    """Puts the side and the checkpoint in front of an error's message."""
    try:
        yield
    except (InputError, CorruptError) as error:
        kind = InputError if isinstance(error, InputError) else CorruptError
        raise kind(f"the {name} checkpoint {source.checkpoint.uri}: {error}") from error
    except PermanentError as error:
        raise PermanentError(f"the {name} checkpoint {source.checkpoint.uri}: {error}") from error


def _unwrapped(tensors: dict[str, TensorRange]) -> tuple[dict[str, TensorRange], str]:
    """The tensors under the names that the model itself gives them, and what was taken off."""
    removed: dict[str, None] = {}
    inner = any(wrapper in name for wrapper in WRAPPERS for name in tensors)
    names = {name: _INNER.sub("", name) if inner else name for name in tensors}
    for name, plain in names.items():
        if name != plain:
            removed |= dict.fromkeys(match[0] for match in _INNER.finditer(name))
    while prefix := next((outer for outer in _OUTER if _all_begin_with(names.values(), outer)), None):
        removed[prefix] = None
        names = {name: _INNER.sub("", plain.removeprefix(prefix)) for name, plain in names.items()}
    if not removed or len(set(names.values())) != len(names):
        return tensors, ""
    return {names[name]: tensor for name, tensor in tensors.items()}, "".join(removed)


def _all_begin_with(names: Collection[str], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)
