"""Ports of 127.0.0.1 for servers that take theirs as a setting."""

import socket

__all__ = ["reserve"]


def reserve(port: int = 0) -> int:
    """A port that the system gives, or this one; nobody else is given it for a minute.

    A connection to it is closed from its own side and so stays in TIME_WAIT, where the system gives
    the port to nobody who asks for any. A server that sets SO_REUSEADDR, as all do, may listen on it.

    Raises:
        OSError: this one is taken.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen(1)
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0]:
            return address[1]
