"""Engine processes, as forks of one that has imported vLLM and is kept for the next engine.

with forked_engine(module, request, python=python, log=log, descriptors=[writing]) as engine:
    engine.wait()
"""

import atexit
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tasks.core.append_file import PRIVATE
from tasks.core.child import ENGINE, child_environment, start_module
from tasks.core.values import Value, canonical_json
from tasks.generation.fork_server import ForkRequest
from tasks.stores.scratch import scratch_folder

__all__ = ["ForkedEngine", "forked_engine"]

SERVER = "tasks.generation.fork_server"
LINE_BYTES = 64


class _Origin(NamedTuple):
    """What an engine's process starts with: all that start alike are forks of one server."""

    python: str
    environment: Mapping[str, str]
    added: Mapping[str, str]


class _ForkServer:
    """A running fork server.

    engines  that run or wait; changed with the lock held
    """

    def __init__(self, origin: _Origin, log: Path) -> None:
        """Starts it; what it says until its first engine runs goes into that engine's log.

        Raises:
            InputError: the interpreter cannot be started.
        """
        self.origin, self._log, self._stack = origin, log, ExitStack()
        self.engines = 0
        try:
            scratch = self._stack.enter_context(scratch_folder())
            self._channel, its_end = socket.socketpair()
            self._stack.enter_context(self._channel)
            with its_end:
                self.process = start_module(
                    origin.python,
                    SERVER,
                    [str(its_end.fileno())],
                    scratch=scratch,
                    log=log,
                    environment=origin.added,
                    pass_fds=[its_end.fileno()],
                )
        except BaseException:
            self._stack.close()
            raise

    def ask(self, wanted: ForkRequest, descriptors: Sequence[int]) -> None:
        """Asks for an engine. Where the server has ended, the descriptors close, which says so."""
        with suppress(OSError):
            socket.send_fds(self._channel, [canonical_json(wanted) + b"\n"], descriptors)

    def explain(self, log: Path) -> int:
        """Its exit status, once it has ended before it could fork; why stands in the engine's log too."""
        if log != self._log and self._log.is_file():
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE), "ab") as output:
                output.write(self._log.read_bytes())
        return self.process.wait()

    def close(self) -> None:
        """Ends it, and with it its engines."""
        self.process.kill()
        self.process.wait()
        self._stack.close()


_servers: list[_ForkServer] = []
_lock = Lock()


class ForkedEngine:
    """An engine's process.

    returncode  as of `subprocess`; None: it runs, or waits until vLLM is imported
    """

    def __init__(self, server: _ForkServer, status: FileIO, log: Path) -> None:
        """Args:
        status: the end of a pipe, not blocking, from which the server's lines about it are read.
        """
        self._server, self._status, self._log = server, status, log
        self._unread = b""
        self.pid: int | None = None
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None: it has not ended."""
        while self.returncode is None and (content := self._status.read(LINE_BYTES)) is not None:
            if content:
                self._take(content)
            else:  # its server has ended without a word
                self.returncode = self._server.process.wait() if self.pid else self._server.explain(self._log)
        return self.returncode

    def wait(self) -> int:
        """Waits for its end; its exit status."""
        while (status := self.poll()) is None:
            select.select([self._status], [], [])
        return status

    def wait_for(self, seconds: float) -> int | None:
        """Waits that long for its end; its exit status, None if it still runs."""
        deadline = time.monotonic() + seconds
        while self.poll() is None and (left := deadline - time.monotonic()) > 0:
            select.select([self._status], [], [], left)
        return self.returncode

    def kill(self) -> None:
        """kill -9, of its workers too; returns at its end.

        One that has not begun is none: its server ends it as soon as it is there.
        """
        if self.poll() is None and self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def _take(self, content: bytes) -> None:
        *lines, self._unread = (self._unread + content).split(b"\n")
        for line in lines:
            kind, number = line.split()
            if kind == b"pid":
                self.pid = int(number)
            else:
                self.returncode = int(number)


@contextmanager
def forked_engine(
    module: str,
    request: Value,
    *,
    python: str,
    log: Path,
    descriptors: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[ForkedEngine]:
    """Starts an engine, which ends with the block, however that ends.

    Args:
        module: has `main(path of the request, descriptor for replies)`, which returns the exit status.
        log: gets its output, behind what is there; made readable for its owner alone.
        descriptors: for replies and, if it takes orders, its standard input; they may be closed at once.
        environment: variables in addition to those that engines may have.

    Raises:
        InputError: the interpreter cannot be started.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder())
        (scratch / "request.json").write_bytes(canonical_json(request))
        wanted = ForkRequest(
            module=module, path=str(scratch / "request.json"), folder=str(scratch), log=str(log)
        )
        reading, writing = os.pipe()
        status = stack.enter_context(FileIO(reading))
        with FileIO(writing, "w"):
            os.set_blocking(reading, False)
            origin = _Origin(python, child_environment(ENGINE), dict(environment or {}))
            server = stack.enter_context(_server(origin, log))
            server.ask(wanted, [writing, *descriptors])
        engine = ForkedEngine(server, status, log)
        stack.callback(engine.kill)
        yield engine


@contextmanager
def _server(origin: _Origin, log: Path) -> Iterator[_ForkServer]:
    """The server of this origin, for one more engine."""
    with _lock:
        for server in list(_servers):
            if not server.engines and _is_of_no_use(server, origin):
                _servers.remove(server)
                server.close()
        running = (server for server in _servers if server.process.poll() is None)
        found = next((server for server in running if server.origin == origin), None)
        if found is None:
            _servers.append(found := _ForkServer(origin, log))
        found.engines += 1
    try:
        yield found
    finally:
        with _lock:
            found.engines -= 1


def _is_of_no_use(server: _ForkServer, origin: _Origin) -> bool:
    """It has ended, or its environment is not that of this process any more."""
    return server.process.poll() is not None or server.origin.environment != origin.environment


@atexit.register
def _end_all() -> None:
    while _servers:
        _servers.pop().close()


def _forget() -> None:
    """In a fork of this process: the servers are its parent's."""
    global _lock
    _lock = Lock()
    _servers.clear()


os.register_at_fork(after_in_child=_forget)
