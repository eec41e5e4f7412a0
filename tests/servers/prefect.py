"""A real Prefect server and worker on loopback, each ended by its own process id."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]
import pytest

from tests.servers.ports import reserve
from tests.waiting import LIMIT

__all__ = [
    "PrefectServer",
    "bootstrap",
    "end",
    "make_database",
    "prefect",
    "reporting_to",
    "serve_prefect",
    "serve_worker",
    "server_at",
    "start_worker",
]

ROOT = Path(__file__).parents[2]
_running: "dict[str, PrefectServer]" = {}
"""The servers of this process by their URL."""
DATABASE = "prefect.db"
TEMPLATE = "EXPO_TEST_PREFECT_TEMPLATE"
"""Names the folder, kept between sessions, for the database that servers start from."""


class PrefectServer:
    """A server on SQLite in `home`, with a migrated database, or on what the environment says.

    with PrefectServer(folder) as server:
        ...                              server.url is the API's
        server.kill(); server.start()    the same records on the same port
    """

    def __init__(self, home: Path, environment: dict[str, str] | None = None) -> None:
        self._home, self._environment = home, environment or {}
        self._port = reserve()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            end(self._process)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        if not self._environment:
            make_database(self._home)
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        # the UI would ask port 4200
        environment = {"PREFECT_HOME": str(self._home), "PREFECT_UI_API_URL": self.url, **self._environment}
        log = self._home / "server.log"
        self._process = _start(command, log, environment)
        _running[self.url] = self
        _wait_until_ready(f"{self.url}/health", self._process, log)

    def kill(self) -> None:
        """kill -9, of the command and of the server that it has started."""
        for process in self.processes():
            process.kill()
        if self._process:
            self._process.wait()

    def memory(self) -> int:
        """Resident bytes of the server's processes."""
        return sum(process.memory_info().rss for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """The command and its children."""
        assert self._process
        command = psutil.Process(self._process.pid)
        return [command, *command.children(recursive=True)]


def server_at(url: str) -> PrefectServer:
    """The server of this process that has this URL."""
    return _running[url]


@contextmanager
def serve_prefect(home: Path) -> Iterator[str]:
    """Serves on SQLite in `home`; yields the API's URL."""
    with PrefectServer(home) as server:
        yield server.url


def make_database(home: Path) -> None:
    """Puts an empty, migrated database into a PREFECT_HOME that has none.

    All of Prefect's migrations take 17 s of a core, so that of the first server is copied for the others.
    """
    if (home / DATABASE).exists():
        return
    template = Path(os.environ[TEMPLATE])
    template.mkdir(parents=True, exist_ok=True)
    with (template / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / "migrated").exists():
            for file in template.glob(f"{DATABASE}*"):  # of a session that was killed
                file.unlink()
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
            environment = os.environ | {"PREFECT_HOME": str(template)}
            subprocess.run(command, env=environment, check=True, capture_output=True)
            (template / "migrated").touch()
    home.mkdir(parents=True, exist_ok=True)
    for file in template.glob(f"{DATABASE}*"):  # SQLite's log too, if there is one
        shutil.copyfile(file, home / file.name)


@contextmanager
def reporting_to(url: str) -> Iterator[None]:
    """The flows of this process report to the server of this URL, until the block ends.

    It stands in the environment, since threads of Prefect's own know no other settings and would start
    a server of their own. A process has one worker for events and one for logs: what they still hold
    would be tried again and again on a server that has ended, and the next test's would wait behind it.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", url)
        refresh_global_settings_context()
        yield
        EventsWorker.drain_all()
        APILogWorker.drain_all()
    refresh_global_settings_context()


def start_worker(
    url: str, pool: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process worker that runs the flows in `folder`; `end` ends it."""
    given = {**_client(url), "EXPO_HOME": str(folder), **(environment or {})}
    return _start(["worker", "start", "--pool", pool], folder / "worker.log", given)


@contextmanager
def serve_worker(url: str, pool: str, folder: Path) -> Iterator[None]:
    """A process worker that runs the flows in `folder`, until the block ends."""
    process = start_worker(url, pool, folder)
    try:
        yield
    finally:
        end(process)


def prefect(url: str, *arguments: str, cwd: Path | None = None) -> str:
    """Runs a `prefect` command to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=os.environ | _client(url),
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"prefect {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def bootstrap(url: str, *options: str, families: Path | None = None) -> str:
    """Makes pools, limits, automations and deployments, with a registry of one's own; what it printed.

    Where a server of this process has locked itself up, does what the command says: twice at most.
    """
    from deployments.bootstrap import LOCKED_UP  # which brings Prefect

    registry = {"EXPO_FAMILIES": str(families)} if families else {}
    said = ""
    for left in (2, 1, 0):
        done = subprocess.run(
            [sys.executable, "-m", "deployments.bootstrap", *options],
            env=os.environ | _client(url) | registry,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        said += done.stdout
        if done.returncode == 0:
            return said
        locked_up = LOCKED_UP in done.stderr and url in _running
        assert left and locked_up, f"{done.stdout}\n{done.stderr}"
        server_at(url).kill()
        server_at(url).start()
    raise AssertionError("not reached")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that was started here, if it has not ended."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:  # a worker may wait longer for what it watches
        process.kill()
        process.wait()


def _start(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(url, timeout=30) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")


def _client(url: str) -> dict[str, str]:
    """The settings of a client that waits as long as a busy machine takes to answer."""
    return {"PREFECT_API_URL": url, "PREFECT_API_REQUEST_TIMEOUT": str(LIMIT)}
