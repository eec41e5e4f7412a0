"""Where a stage writes while it works."""

from pathlib import Path

from tasks.stores.artefact import Artefact
from tasks.stores.local import cache_folder

__all__ = ["workplace"]


def workplace(artefact: Artefact) -> Path:
    """The artefact's own folder when it is on this machine, else a folder of the cache.

    It is the same at every try, so a stage that keeps a journal finds it again.
    """
    folder = artefact.local or cache_folder() / "work" / artefact.uri.partition("://")[2]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
