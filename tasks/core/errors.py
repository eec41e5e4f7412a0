"""What can go wrong, split by what the operator does next.

    ExpoError
    ├── RetryableError        it may pass: the same call again, later, can succeed
    └── PermanentError        it cannot pass by itself: something has to be changed first
        ├── InputError        what was asked for is wrong (exit status 2 of the command)
        ├── MismatchError     two checkpoints do not fit each other, or the recipe
        ├── OverBudgetError   a judge would ask, or cost, more than it may
        └── CorruptError      bytes are not what they should be

Every message says what was wrong, where, and what to do next.
"""

import re

__all__ = [
    "CorruptError",
    "ExpoError",
    "InputError",
    "MismatchError",
    "OverBudgetError",
    "PermanentError",
    "RetryableError",
]


# User and password of a URL, which a proxy, an endpoint or a client's own message may have brought.
_USER_OF_URL = re.compile(r"\b((?:https?|socks\w*)://)[^\s/'\"]*@")


class ExpoError(Exception):
    """Any error that this project raises on purpose; no message shows the user and password of a URL."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_USER_OF_URL.sub(r"\1", message))


class RetryableError(ExpoError):
    """The same call may succeed later: a server that is busy, a process that died."""


class PermanentError(ExpoError):
    """The same call fails again until something is changed."""


class InputError(PermanentError):
    """A parameter, an option or a file that the user gave is wrong."""


class MismatchError(InputError):
    """The aligned and the SFT checkpoint cannot be combined as asked."""


class CorruptError(PermanentError):
    """A file's content is not what its header, its digest or its manifest says."""


class OverBudgetError(PermanentError):
    """What is to be judged needs more requests or money than the judge's limits allow."""
