"""Drill 4: 14 families × 30 shards that do nothing: no record is lost, and what a task costs."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.drills.conftest import Record
from tests.drills.noops import FAMILIES, SHARDS
from tests.drills.stage import POLL, Stage
from tests.parts import lacks
from tests.servers.prefect import PrefectServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, PrefectServer]]:
    if request.param == "SQLite":
        with PrefectServer(tmp_path / "prefect") as made:
            yield request.param, made
        return
    from tests.servers.postgres import programs, serve_postgres

    if programs() is None:
        lacks("postgres", "no PostgreSQL is installed: apt-get install postgresql")
    with serve_postgres() as url:
        environment = {"PREFECT_API_DATABASE_CONNECTION_URL": url}
        with PrefectServer(tmp_path / "prefect", environment) as made:
            yield request.param, made


def test_no_record_is_lost(server: tuple[str, PrefectServer], record: Record) -> None:
    name, prefect = server
    done = subprocess.run(
        [sys.executable, "-m", "tests.drills.noops"],
        env=os.environ | {"PREFECT_API_URL": prefect.url, "PREFECT_LOGGING_LEVEL": "WARNING"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    stage, run = Stage.of(prefect), UUID(printed["run"])
    count = FAMILIES * SHARDS
    wait_until(lambda: _completed(stage, run) >= count, f"{count} records", every=POLL)
    assert _completed(stage, run) == count
    record(
        f"records, {name}",
        tasks=count,
        seconds=round(printed["seconds"], 1),
        milliseconds_per_task=round(1000 * printed["seconds"] / count, 1),
        server_megabytes=round(prefect.memory() / 1e6),
    )


def _completed(stage: Stage, run: UUID) -> int:
    """Shards with a record that says so; the sub-flows have records of their own among the run's tasks."""
    tasks = stage.task_runs(run)
    return Counter(task.state_name for task in tasks if task.name.startswith("shard"))["Completed"]
