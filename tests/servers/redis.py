"""A real Redis on loopback, from Debian's package, for the Prefect server's messages."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import reserve
from tests.waiting import LIMIT

__all__ = ["redis_program", "serve_redis"]


def redis_program() -> str | None:
    """The server's program, None where it is not installed."""
    return shutil.which("redis-server")


@contextmanager
def serve_redis(folder: Path, *options: str) -> Iterator[int]:
    """Serves in `folder`, with more options if wanted; yields the port."""
    program, port = redis_program(), reserve()
    assert program
    folder.mkdir(parents=True, exist_ok=True)
    own = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *own, *options], stdout=log, stderr=log)
        try:
            _wait_until_ready(port, process, folder / "log")
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                if client.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"Redis did not start:\n{log.read_text()[-2000:]}")
