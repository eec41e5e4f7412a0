"""A Prefect server for the flows of one command, where no other is configured.

It listens on loopback, answers only who has the password that this process makes up, and ends with
this process, whatever ends that.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS as LIMIT_SECONDS

import tasks
from tasks.core.child import child_environment
from tasks.core.errors import RetryableError

__all__ = ["ensure_server"]

MODULE = "tasks.runtime.local_server_process"
ALLOWED = re.compile(r"PREFECT_(?!API_URL$)\w+|PREFECT_\w*DATABASE\w*")
DIRECT = build_opener(ProxyHandler({}))  # a proxy is no way to this machine
LOG_END = 2000  # bytes

_running: "list[subprocess.Popen[bytes]]" = []


def ensure_server() -> None:
    """Starts a server and makes it that of this process, unless the user has one or wants none.

    Raises:
        RetryableError: it did not start.
    """
    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return
    password = f"expo:{secrets.token_urlsafe(24)}"
    with tempfile.TemporaryFile() as log:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            process = _start(listening, url, password, log)
        _wait_until_it_answers(process, url, log)
    _running.append(process)  # its input is open as long as this process lives
    os.environ |= {"PREFECT_API_URL": f"{url}/api", "PREFECT_API_AUTH_STRING": password}
    refresh_global_settings_context()


def _start(listening: socket.socket, url: str, password: str, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    path = [str(Path(tasks.__path__[0]).resolve().parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P: a module in the folder that the command was typed in replaces none
        [sys.executable, "-P", "-m", MODULE, str(listening.fileno())],
        env=child_environment(ALLOWED)
        | {
            "PYTHONPATH": os.pathsep.join(path),
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        },
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=[listening.fileno()],
        start_new_session=True,  # Ctrl-C is the command's
    )


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: IO[bytes]) -> None:
    """One request waits in the socket's queue until it is served; where the process ends, it fails."""
    limit = LIMIT_SECONDS.value()
    try:
        DIRECT.open(f"{url}/api/health", timeout=limit).close()
    except (URLError, OSError) as error:
        ended = process.poll() is not None
        process.kill()
        process.wait()
        if isinstance(error, HTTPError):
            reason = f"it answered with status {error.code}"
        elif ended:
            reason = f"it ended with status {process.returncode}"
        else:
            reason = f"no answer in {limit:.0f} s"
        raise RetryableError(
            f"the temporary Prefect server did not start: {reason}; run again when the machine is less busy, "
            f"or start `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api{_end_of(log)}"
        ) from error


def _end_of(log: IO[bytes]) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_END))
    lines = log.read().decode(errors="replace").split("\n")
    return "".join(f"\n  {line}" for line in lines if line.strip())
