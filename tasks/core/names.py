"""Names that come from outside: from a manifest, an index, a listing.

A name that is joined to a folder has to be a plain one, or it could lead out of the folder.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["FileName", "Sha256", "is_plain_name"]

MAX_NAME_BYTES = 255  # of every file system in use


def is_plain_name(name: str) -> bool:
    """Whether a name is that of one file in a folder: no path, not hidden, printable, not too long."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return (
        0 < size <= MAX_NAME_BYTES
        and not name.startswith(".")
        and name.isprintable()
        and "/" not in name
        and "\\" not in name
    )


def _plain(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name[:80]!r} is no plain file name")
    return name


FileName = Annotated[str, AfterValidator(_plain)]
"""The name of one file, without a path."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A digest or fingerprint: 64 hex digits."""
