"""Patience with a server that is busy: the same call again, after a while."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tasks.core.errors import RetryableError

__all__ = ["patiently"]

T = TypeVar("T")

TRIES = 4
LONGEST_WAIT_S = 300.0  # the Hub counts requests in windows of five minutes

_log = logging.getLogger(__name__)


def patiently(
    call: Callable[[], T], asked_to_wait: Callable[[RetryableError], float | None] | None = None
) -> T:
    """What `call` gives; after a RetryableError tried again, in all four times.

    It waits as long as the server asked (`asked_to_wait` reads that from the error, in
    seconds), else 1, 2, 4 s and a bit.
    """
    for attempt in range(TRIES - 1):
        try:
            return call()
        except RetryableError as error:
            asked = asked_to_wait(error) if asked_to_wait else None
            wait = min(asked or 2.0**attempt + random.random(), LONGEST_WAIT_S)
            _log.warning("%s; waiting %.0f s", error, wait)
            time.sleep(wait)
    return call()
