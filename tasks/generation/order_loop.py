"""The loop of a process that takes orders: a line each on the standard input, replies on a pipe."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.core.errors import ExpoError
from tasks.core.values import canonical_json
from tasks.generation.live_orders import LiveReply, LiveSetup

__all__ = ["Replies", "serve_orders"]


class Replies:
    """Lines to whoever started the engine."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, reply: LiveReply) -> None:
        """Writes a line; shorter than a pipe's buffer, so it arrives in one piece."""
        os.write(self._descriptor, canonical_json(reply) + b"\n")

    def progress(self, count: int) -> None:
        """So many more answers have been made."""
        if count:
            self.send(LiveReply(kind="progress", count=count))


def serve_orders(
    path: str, descriptor: int, start: Callable[[LiveSetup, Replies], Callable[[str], None]]
) -> int:
    """Does orders until the standard input ends; the exit status.

    Args:
        path: of the setup.
        descriptor: of the pipe for replies.
        start: loads what does the orders, replies that it is ready, and returns what obeys a line.
    """
    setup = LiveSetup.model_validate_json(Path(path).read_bytes())
    replies = Replies(descriptor)
    try:
        obey = start(setup, replies)
        for line in sys.stdin:
            obey(line)
            replies.send(LiveReply(kind="done"))
    except ExpoError as error:
        replies.send(LiveReply(kind="failed", error=type(error).__name__, message=str(error)))
        raise
    return 0
