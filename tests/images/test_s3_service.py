"""The S3 server of compose, started with its own command: what listens outside of the container."""

import os
import socket
import subprocess
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.images.files import compose
from tests.servers.s3 import GRPC_OFFSET, free_ports, weed_program
from tests.waiting import wait_until

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"  # which stand for the container's loopback, and its network


def listening(process: "subprocess.Popen[bytes]") -> set[tuple[str, int]]:
    found = psutil.Process(process.pid).net_connections(kind="tcp")
    return {tuple(entry.laddr) for entry in found if entry.status == psutil.CONN_LISTEN}


def test_only_s3_listens_outside_and_it_asks_for_keys(tmp_path: Path) -> None:
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [part.replace("/data", str(tmp_path)) for part in compose()["services"]["s3"]["command"]]
    command = [part.replace("0.0.0.0", OUTSIDE) for part in command]
    keys = {"AWS_ACCESS_KEY_ID": "expo", "AWS_SECRET_ACCESS_KEY": "hidden"}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [weed_program(), *command, *(f"-{name}.port={port}" for name, port in ports.items())],
            env=os.environ | keys,
            stdout=log,
            stderr=log,
        ) as server,
    ):
        try:
            wait_until(lambda: _answers(ports["s3"]), "the S3 server")
            found = listening(server)
            answer = _get(ports["s3"])
        finally:
            server.kill()
    outside = {port for address, port in found if address != INSIDE}
    assert {address for address, _ in found} == {INSIDE, OUTSIDE}
    assert {ports["filer"], ports["master"], ports["volume"]}.isdisjoint(outside)
    metrics = outside - {ports["s3"], ports["s3"] + GRPC_OFFSET}
    assert metrics <= {9101}
    assert b" 403 " in answer.splitlines()[0]


def _answers(port: int) -> bool:
    try:
        return bool(_get(port))
    except OSError:
        return False


def _get(port: int) -> bytes:
    """The buckets, asked for without keys."""
    with socket.create_connection((OUTSIDE, port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(1 << 16)
