"""Checkpoints, instructions and judges that ship inside a Python package, or are made by one.

A registry entry that names a module as `provider` owns the uris that begin with the family's name and a
colon. So the entry `mine` with `provider: my_package.expo` may say `aligned: mine:aligned` and
`judge: mine:rule`, and the module, which has the functions of `Provider`, says what they are. The
registry is the worker's own file: no parameter of a run and no manifest names a module.
"""

import re
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tasks.core.errors import InputError
from tasks.core.families import Family, registry

__all__ = ["Provider", "provider_of", "unmade"]

_URI = re.compile(r"(?P<family>[a-z0-9][a-z0-9._-]*):(?!//).+")


class Provider(Protocol):
    """The functions of a provider's module; they raise InputError for a uri that they do not know."""

    def find(self, uri: str) -> Path:
        """A checkpoint's folder, or a file of instructions in AlpacaEval's form; made if need be."""

    def is_made(self, uri: str) -> bool:
        """Whether `find` has only to look: what a manifest or an earlier stage names is not made again."""

    def serve_judge(self, uri: str) -> AbstractContextManager[str]:
        """Serves a judge of pairwise comparisons on this machine; gives its OpenAI-compatible base URL."""


def provider_of(uri: str) -> Provider | None:
    """The provider whose family's name the uri begins with; None for any other uri.

    Raises:
        InputError: the registry names a module that cannot be imported.
    """
    owner = _URI.fullmatch(uri)
    entry = registry().get(owner["family"]) if owner else None
    if entry is None or entry.provider is None:
        return None
    try:
        return cast(Provider, import_module(entry.provider))
    except ModuleNotFoundError as error:
        if error.name and entry.provider.startswith(error.name):
            raise InputError(
                f"family {entry.name}: no module {entry.provider!r}, its provider in the registry; "
                "install the package that has it"
            ) from error
        raise


def unmade(family: Family) -> tuple[tuple[str, Provider], ...]:
    """The family's checkpoints that its provider has yet to make, each with the provider."""
    found = ((uri, provider_of(uri)) for uri in (family.aligned, family.sft))
    return tuple((uri, provider) for uri, provider in found if provider and not provider.is_made(uri))
