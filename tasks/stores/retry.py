"""Retries a call after a pause while a server is busy."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tasks.core.errors import RetryableError

__all__ = ["is_retryable", "with_retries"]

T = TypeVar("T")

TRIES = 4
LONGEST_WAIT_S = 300.0  # the Hub counts requests in windows of five minutes

_log = logging.getLogger(__name__)


def is_retryable(status: int) -> bool:
    """Whether an HTTP status may pass: a timeout, a conflict, too many requests, a server error."""
    return status in (408, 409, 425, 429) or status >= 500


def with_retries(
    call: Callable[[], T], retry_after: Callable[[RetryableError], float | None] | None = None
) -> T:
    """What `call` gives; after a RetryableError tried again, in all four times.

    It waits as long as the server asked (`retry_after` reads that from the error, in
    seconds), else 1, 2, 4 s and up to a second of jitter.
    """
    for attempt in range(TRIES - 1):
        try:
            return call()
        except RetryableError as error:
            asked = retry_after(error) if retry_after else None
            wait = min(asked or 2.0**attempt + random.random(), LONGEST_WAIT_S)
            _log.warning("%s; waiting %.0f s", error, wait)
            time.sleep(wait)
    return call()
