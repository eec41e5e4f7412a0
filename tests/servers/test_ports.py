"""A port that is reserved is given to nobody else, and a server may still listen on it."""

import socket

import pytest

from tests.servers.ports import reserve


def test_reserved_ports() -> None:
    ports = [reserve() for _ in range(20)]
    assert len(set(ports)) == 20
    with pytest.raises(OSError, match="already in use"):
        reserve(ports[0])
    with socket.create_server(("127.0.0.1", ports[0])) as server:
        assert server.getsockname()[1] == ports[0]
