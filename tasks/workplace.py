"""Where this machine keeps what can be made again, and where a stage writes while it works."""

import os
from pathlib import Path

from tasks.stores.artefact import Artefact

__all__ = ["cache_folder", "workplace"]


def cache_folder() -> Path:
    """$EXPO_CACHE, or ~/.cache/expo."""
    return Path(os.environ.get("EXPO_CACHE", "~/.cache/expo")).expanduser()


def workplace(artefact: Artefact) -> Path:
    """The artefact's own folder when it is on this machine, else a folder of the cache.

    It is the same at every try, so a stage that keeps a journal finds it again.
    """
    folder = artefact.local or cache_folder() / "work" / artefact.uri.partition("://")[2]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
