"""A real Prefect server and worker on loopback, each ended by its own process id."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["bootstrap", "free_port", "prefect", "serve_prefect", "serve_worker"]

READY_SECONDS = 120
ROOT = Path(__file__).parents[2]


@contextmanager
def serve_prefect(home: Path) -> Iterator[str]:
    """Serves on SQLite in `home`; yields the API's URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, home / "server.log", {"PREFECT_HOME": str(home)}) as process:
        _wait_until_ready(f"{url}/health", process, home / "server.log")
        yield url


@contextmanager
def serve_worker(url: str, pool: str, folder: Path) -> Iterator[None]:
    """A process worker that runs the flows in `folder`."""
    environment = {"PREFECT_API_URL": url, "EXPO_HOME": str(folder)}
    with _running(["worker", "start", "--pool", pool], folder / "worker.log", environment):
        yield


def prefect(url: str, *arguments: str, cwd: Path | None = None) -> str:
    """Runs a `prefect` command to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=os.environ | {"PREFECT_API_URL": url},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"prefect {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bootstrap(url: str, *options: str) -> str:
    """Makes pools, limits, automations and deployments on a fresh server; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.bootstrap", *options],
        env=os.environ | {"PREFECT_API_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:  # a worker may wait longer for what it watches
                process.kill()
                process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")
