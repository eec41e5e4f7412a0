"""bootstrap warns of a server that answers anybody, and makes the bucket of an S3 server of one's own."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deployments import exposure
from deployments.bootstrap import make_bucket
from deployments.exposure import unlocked
from tasks.stores.artefact import Store
from tasks.stores.s3 import forget_clients
from tests.servers.s3 import S3Server

OTHER = "127.0.0.2"


class Server(HTTPServer):
    """Answers every request with one status."""

    status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for this machine's address on a network."""
    monkeypatch.setattr(exposure, "_own_addresses", lambda: {OTHER})


def test_a_server_on_loopback_alone_may_be_open(server: Server) -> None:
    assert unlocked(server.url) is None


def test_a_server_on_all_addresses_is_warned_of_unless_it_asks(server: Server) -> None:
    with socket.create_server((OTHER, server.server_port)):
        warning = unlocked(server.url.replace("http://", "http://me:secret@"))
        assert warning and "asks for no password" in warning and "secret" not in warning
        server.status = 401
        assert unlocked(server.url) is None


def test_another_machines_server_is_warned_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "_is_loopback", lambda _: False)
    assert unlocked(server.url)
    server.status = 403
    assert unlocked(server.url) is None


def test_the_bucket_of_a_new_server_is_made_once(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_bucket("s3://fresh-bucket/store") == ["bucket fresh-bucket"]
    assert make_bucket("s3://fresh-bucket/store") == []
    assert Store("s3://fresh-bucket/store").names("models") == []
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    forget_clients()
    assert make_bucket("s3://bucket-of-aws/store") == []
    assert make_bucket("folder") == []
