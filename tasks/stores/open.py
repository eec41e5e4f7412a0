"""Opens a source: where a checkpoint's bytes come from.

source = open_source("HuggingFaceH4/zephyr-7b-beta")      the Hub, at the head of main
source = open_source("org/name@v1.0")                     …at a branch, tag or commit
source = open_source("/models/my-sft")                    a folder of this machine
source = open_source("s3://bucket/my-sft")                objects directly under a prefix
source = open_source("demo:aligned")                      what a provider has: see tasks.core.providers
source = reopen(recipe.aligned)                           what an earlier stage resolved, or an error
"""

import re
from pathlib import Path

from tasks.core.errors import InputError, PermanentError
from tasks.core.providers import provider_of
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Checkpoint, Source, is_hub_commit

__all__ = ["open_source", "reopen"]

HUB = "hf://"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@.+)?")


def open_source(uri: str, revision: str | None = None) -> Source:
    """Opens a folder, a hub id, an S3 prefix or a provider's checkpoint; `revision` is for hub ids.

    A hub id may bring it itself: `org/name@revision`. A folder whose path could be a hub id is written
    as ./org/name, and a hub id that is also a folder's name as hf://org/name.

    Raises:
        InputError: it is a hub id and a folder, or there is no such folder, hub id, revision or bucket.
        PermanentError: access is not granted, or offline and not in the cache.
        RetryableError: the Hub or the object store is busy or cannot be reached.
    """
    if uri.startswith("s3://"):
        from tasks.stores.s3_source import S3Source

        return S3Source(uri)
    if provider := provider_of(uri):
        return FolderSource(provider.find(uri), uri)
    named_hub = uri.startswith(HUB)
    if not named_hub and _is_folder(uri):
        return FolderSource(Path(uri).expanduser())
    uri, _, named = uri.removeprefix(HUB).partition("@")
    return _hub_source(uri, revision or named or None)


def reopen(checkpoint: Checkpoint) -> Source:
    """Opens a checkpoint at exactly its commit.

    Raises:
        PermanentError: it is no hub id, and its files have changed since it was resolved; or it is a
            provider's, and not on this machine.
    """
    if (provider := provider_of(checkpoint.uri)) and not provider.is_made(checkpoint.uri):
        raise PermanentError(
            f"{checkpoint.uri}: not on this machine, and nothing is made because a manifest names it; "
            "run the family here first"
        )
    pinned = checkpoint.commit if is_hub_commit(checkpoint.commit) else None
    source = _hub_source(checkpoint.uri, pinned) if pinned else open_source(checkpoint.uri)
    if source.checkpoint != checkpoint:
        raise PermanentError(
            f"{checkpoint.uri}: its files have changed since this run was planned "
            f"(was {checkpoint.commit}, is {source.checkpoint.commit}); start the run again"
        )
    return source


def _is_folder(uri: str) -> bool:
    """Whether it is written as a path. What could be a hub id and is a folder here too, is refused."""
    if uri.startswith((".", "/", "~")):
        return True
    if not Path(uri).is_dir():
        return False
    if _HUB_ID.fullmatch(uri):
        raise InputError(
            f"{uri}: a hub id, and there is a folder of that name here; "
            f"write ./{uri} for the folder, or {HUB}{uri} for the Hub"
        )
    return True


_opened: dict[tuple[str, str], Source] = {}


def _hub_source(uri: str, revision: str | None) -> Source:
    """Stages open the same commit again and again: one listing serves them all."""
    if revision and (uri, revision) in _opened:
        return _opened[uri, revision]
    from tasks.stores.hub import HubSource

    source = HubSource(uri, revision)
    return _opened.setdefault((uri, source.checkpoint.commit), source)
