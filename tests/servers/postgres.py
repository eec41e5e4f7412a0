"""A real PostgreSQL on loopback, from Debian's packages, for the Prefect server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import reserve

__all__ = ["programs", "serve_postgres"]


def programs() -> Path | None:
    """The folder of the newest installed version's programs, None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def serve_postgres() -> Iterator[str]:
    """Serves an empty database; yields SQLAlchemy's URL for asyncpg. It refuses to run as root: then
    its files and its process are of the user `postgres`, which Debian's package makes."""
    found = programs()
    assert found
    folder = Path(tempfile.mkdtemp(prefix="expo-postgres-"))
    port, data = reserve(), folder / "data"
    as_owner: list[str | Path] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control: list[str | Path] = [
        *as_owner,
        found / "pg_ctl",
        "-D",
        data,
        "-w",
        "-t",
        "600",
        "-l",
        folder / "log",
    ]
    try:
        initdb: list[str | Path] = [*as_owner, found / "initdb", "-D", data, "-U", "prefect", "--auth=trust"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
