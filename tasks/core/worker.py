"""What this worker allows a run to do, by variables of its own environment.

    EXPO_ENDPOINT_KEYS    URL=VARIABLE …: the variable whose key an endpoint gets. OpenAI's address has
                          OPENAI_API_KEY; any other address gets no key unless it stands here
    EXPO_ALLOWED_ROOTS    folders and s3://… that stores, anchors and prompts of a run have to lie
                          in, separated by spaces; unset: anywhere
    EXPO_TRUSTED_JUDGES   CHECKPOINT@COMMIT …: hub checkpoints whose own Python may run when they are
                          served as judges
    EXPO_SEARCH_FUNCTIONS MODULE:FUNCTION …: what may score the answers of a search

A run's parameters come from anybody who reaches the Prefect server; they choose among these values.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from tasks.core.errors import InputError

__all__ = [
    "FUNCTIONS",
    "KEYS",
    "OPENAI_URL",
    "allow",
    "check_function",
    "check_root",
    "check_trusted",
    "key_variable",
    "without_credentials",
]

OPENAI_URL = "https://api.openai.com/v1"
KEYS, ROOTS, JUDGES = "EXPO_ENDPOINT_KEYS", "EXPO_ALLOWED_ROOTS", "EXPO_TRUSTED_JUDGES"
FUNCTIONS = "EXPO_SEARCH_FUNCTIONS"
OPENAI_KEY = "OPENAI_API_KEY"
_PINNED = re.compile(r"[^@\s]+@[0-9a-f]{40}")


def key_variable(base_url: str, asked: str | None = None) -> str | None:
    """The variable that holds the key for an address; None where it gets no key.

    asked   the variable that the run's parameters name, which changes nothing here

    Raises:
        InputError: the parameters name another variable than the worker has for this address.
    """
    bound = {_normal(OPENAI_URL): OPENAI_KEY} | _bound_keys()
    variable = bound.get(_normal(base_url))
    if asked is None or asked in (variable, OPENAI_KEY):
        return variable
    address = without_credentials(base_url)
    raise InputError(
        f"{address}: this worker sends {variable or 'no key'} there, not {asked}; "
        f"to allow it, set {KEYS}='{address}={asked}' in the worker's environment"
    )


def check_root(what: str, place: str) -> None:
    """Refuses a folder, file or prefix that lies in none of the allowed roots, links followed.

    Raises:
        InputError: it lies in none; the message names the variable that decides.
    """
    roots = os.environ.get(ROOTS, "").split()
    if roots and not any(_lies_in(place, root) for root in roots):
        raise InputError(
            f"{what} {place}: this worker allows {', '.join(roots)} only ({ROOTS}); use one of them"
        )


def check_trusted(checkpoint: str, commit: str) -> None:
    """Refuses to run a judge's own Python unless the worker trusts it at this commit.

    Raises:
        InputError: it does not; says what to set.
    """
    trusted = os.environ.get(JUDGES, "").split()
    if wrong := [entry for entry in trusted if not _PINNED.fullmatch(entry)]:
        raise InputError(f"{JUDGES}: {wrong[0]!r} names no commit; write CHECKPOINT@40 hex digits")
    wanted = f"{checkpoint.partition('@')[0]}@{commit}"
    if wanted not in trusted:
        raise InputError(
            f"judge {checkpoint}: its own Python does not run here; after reading that code, "
            f"set {JUDGES}='{wanted}' in the worker's environment, or leave trust_remote_code out"
        )


def check_function(name: str) -> None:
    """Refuses to import a Python function that a run's parameters name and the worker does not.

    Raises:
        InputError: it does; says what to set.
    """
    if name not in os.environ.get(FUNCTIONS, "").split():
        raise InputError(
            f"function {name!r}: no parameter of a run decides what Python runs here; "
            f"to allow it, set {FUNCTIONS}='{name}' in the worker's environment"
        )


def allow(variable: str, entry: str) -> None:
    """Adds an entry for this process and its children, for commands that a user types on this machine."""
    os.environ[variable] = f"{os.environ.get(variable, '')} {entry}".strip()


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _bound_keys() -> dict[str, str]:
    bound = {}
    for entry in os.environ.get(KEYS, "").split():
        url, equals, variable = entry.rpartition("=")
        if not equals or not url or not variable.isidentifier():
            raise InputError(f"{KEYS}: {without_credentials(entry)!r} is not of the form URL=VARIABLE")
        bound[_normal(url)] = variable
    return bound


def _normal(url: str) -> str:
    """Scheme, host and port in one way of writing; the path as it is, without its last slash."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError as error:
        raise InputError(f"{without_credentials(url)}: no address: {error}") from error
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"


def _lies_in(place: str, root: str) -> bool:
    if "://" in place or "://" in root:
        parts = place.split("/")
        return ".." not in parts and f"{place.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")
    return Path(place).expanduser().resolve().is_relative_to(Path(root).expanduser().resolve())
