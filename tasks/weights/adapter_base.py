"""An adapter's base model: the SFT checkpoint, named by the adapter itself, by the user, or by both."""

import logging
from pathlib import Path

from tasks.core.errors import CorruptError, InputError, MismatchError, PermanentError, RetryableError
from tasks.stores.open import open_source
from tasks.stores.source import Source
from tasks.weights.adapter import is_adapter, read_adapter
from tasks.weights.checkpoint import read_checkpoint
from tasks.weights.pass_options import Parents
from tasks.weights.recipe import AdapterMode

__all__ = ["adapter_mode", "open_parents"]

SAMPLED = 16
SAMPLE_BYTES = 4096

_log = logging.getLogger(__name__)


def open_parents(aligned: str, sft: str | None) -> Parents:
    """Opens both checkpoints; without `sft` an aligned adapter's own base model is the SFT checkpoint.

    Raises:
        InputError: there is no such checkpoint, none is named, or the SFT side is an adapter.
        MismatchError: the adapter names another base model.
        RetryableError: as `open_source`.
    """
    adapter = open_source(aligned)
    if is_adapter(adapter):
        return Parents(adapter, _base_of(adapter, sft))
    if sft is None:
        raise InputError(f"{aligned}: no adapter, which would name its base model; give --sft too")
    base = open_source(sft)
    _refuse_adapter(base)
    return Parents(adapter, base)


def adapter_mode(aligned: Source, merge: bool = False) -> AdapterMode | None:
    """What is made of an aligned side: "scale" where an adapter at another scale is exact, else "merge".

    None for a whole checkpoint.

    Raises:
        InputError: `merge` was asked of a whole checkpoint; and as `read_adapter`.
    """
    if not is_adapter(aligned):
        if merge:
            raise InputError(f"{aligned.checkpoint.uri}: no adapter to merge; leave --merge out")
        return None
    return "merge" if merge or read_adapter(aligned).whole_tensors else "scale"


def _base_of(adapter: Source, sft: str | None) -> Source:
    config = read_adapter(adapter).config
    named, revision = config.base_model_name_or_path, config.revision
    where = adapter.checkpoint.uri
    if sft is None:
        if not named:
            raise InputError(f"{where}: the adapter names no base model; give it as --sft")
        try:
            base = open_source(named, revision)
        except PermanentError as error:
            raise InputError(
                f"{where}: its base model {named} cannot be opened ({error}); give it as --sft"
            ) from error
        _refuse_adapter(base)
        return base
    base = open_source(sft)
    _refuse_adapter(base)
    if named and not _names(base, sft, named):
        _compare(where, base, named, revision)
    return base


def _refuse_adapter(sft: Source) -> None:
    if is_adapter(sft):
        raise InputError(
            f"{sft.checkpoint.uri}: the SFT side is an adapter itself; merge it into its base with peft "
            "(merge_and_unload, then save_pretrained), and train or give the aligned adapter on that model"
        )


def _names(base: Source, sft: str, named: str) -> bool:
    """Whether the adapter's name for its base is the very one that was given."""
    same_folder = Path(named).expanduser().is_dir() and str(Path(named).expanduser().resolve())
    return named in (sft, base.checkpoint.uri) or same_folder == base.checkpoint.uri


def _compare(adapter: str, sft: Source, named: str, revision: str | None) -> None:
    """Two names for the same weights are fine: a local copy, another place of the same folder."""
    try:
        base = open_source(named, revision)
    except (PermanentError, RetryableError) as error:  # a machine may have no way to the Hub
        _log.warning(
            "%s: the base model that the adapter names, %s, is not here (%s); %s is taken for it",
            adapter, named, error, sft.checkpoint.uri,
        )  # fmt: skip
        return
    if base.checkpoint.commit != sft.checkpoint.commit and not _same_weights(base, sft):
        raise MismatchError(
            f"{adapter}: the adapter was trained on {named}, whose weights are not those of "
            f"{sft.checkpoint.uri}; leave --sft out, or give the adapter that was trained on it"
        )


def _same_weights(base: Source, sft: Source) -> bool:
    """By names, shapes and dtypes, and by the first bytes of tensors throughout the model."""
    try:
        tensors, others = read_checkpoint(base).tensors, read_checkpoint(sft).tensors
    except (CorruptError, InputError):
        return False
    names = sorted(tensors)
    if names != sorted(others):
        return False
    if any((tensors[n].dtype, tensors[n].shape) != (others[n].dtype, others[n].shape) for n in names):
        return False
    for name in names[:: max(1, len(names) // SAMPLED)]:
        first, other = tensors[name], others[name]
        length = min(SAMPLE_BYTES, first.nbytes)
        if base.read(first.file, first.offset, length) != sft.read(other.file, other.offset, length):
            return False
    return True
