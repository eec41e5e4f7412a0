"""The sha256 of a file whose parts arrive in any order."""

import hashlib
from threading import Lock

from tasks.core.errors import RetryableError

__all__ = ["StreamingDigest"]


class StreamingDigest:
    """Hashes parts in the order of their places; a part that comes early waits for those before it."""

    def __init__(self, sha256: str) -> None:
        self._expected = sha256
        self._digest = hashlib.sha256()
        self._early: dict[int, bytes] = {}
        self._end = 0
        self._lock = Lock()

    def add(self, start: int, content: bytes) -> None:
        """The bytes from `start` on; may be called by several threads."""
        with self._lock:
            self._early[start] = content
            while (part := self._early.pop(self._end, None)) is not None:
                self._digest.update(part)
                self._end += len(part)

    def require(self, where: str) -> None:
        """Compares, once every part was added.

        Raises:
            RetryableError: the digest is not the stated one; another reading may be right.
        """
        if self._digest.hexdigest() != self._expected:
            raise RetryableError(
                f"{where}: what was streamed does not have the digest that the source states; run again, "
                "or let it be downloaded"
            )
