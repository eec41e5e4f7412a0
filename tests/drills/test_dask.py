"""Shards on a real Dask cluster: the same bytes as on threads, a worker that dies, a shard that kills."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.schemas.objects import TaskRun

from tasks.core.errors import InputError, PermanentError
from tasks.runtime.stage import failed_stage
from tests.drills import poison
from tests.drills.conftest import Record
from tests.drills.stage import POLL, Stage
from tests.servers.dask import serve_dask
from tests.servers.prefect import end
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

FAMILY = "internlm2-chat-20b"  # five shards
ROOT = Path(__file__).parents[2]


class Job(NamedTuple):
    """All that `run_shards` looks at."""

    file: str


class Planned(NamedTuple):
    shards: tuple[Any, ...]


@pytest.fixture(scope="module")
def harness(own_environment: Path) -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness  # imports Prefect's whole server

    with prefect_test_harness(server_startup_timeout=600):
        yield


def test_a_worker_that_dies_with_a_shard_in_its_hands(stage: Stage, record: Record) -> None:
    """One of two workers is stopped, so that it holds a shard and does nothing, then killed with -9."""
    before = stage.worker("threads")
    try:
        run = stage.begin("expo/all-models", families=[FAMILY], benchmarks=[], store=f"s3://{BUCKET}/threads")
        assert stage.ended(run).state.is_completed(), stage.log("threads")  # type: ignore[union-attr]
    finally:
        end(before)
    environment = stage.environment | {"PYTHONPATH": str(ROOT)}
    with serve_dask(stage.folder / "dask", environment, nanny=False) as dask:
        stage.environment["EXPO_DASK_SCHEDULER"] = dask.address
        worker = stage.worker("dask-parent")
        try:
            os.kill(dask.workers[0].pid, signal.SIGSTOP)
            run = stage.begin(
                "expo/all-models", families=[FAMILY], benchmarks=[], store=f"s3://{BUCKET}/dask"
            )
            wait_until(
                lambda: stage.is_over(run) or len(_shards(stage, run)) >= 2,
                "the worker that lives",
                every=POLL,
            )
            assert not stage.is_over(run), stage.log("dask-parent")
            time.sleep(5)  # the other has done what it was given
            start = time.monotonic()
            os.kill(dask.workers[0].pid, signal.SIGKILL)
            ended = stage.ended(run)
            record("kill: Dask worker", after_kill=round(time.monotonic() - start), retries=0)
            assert ended.state and ended.state.is_completed(), stage.log("dask-parent")
        finally:
            del stage.environment["EXPO_DASK_SCHEDULER"]
            end(worker)
    files = stage.files("dask")
    assert len(files) == 5 and files == stage.files("threads")


def test_a_poison_shard_is_a_failure_and_never_a_success(
    harness: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import shards

    @flow
    def job(*names: str) -> tuple[Any, ...]:
        return shards.run_shards([Planned(tuple(Job(name) for name in names))], "store", "stream")  # type: ignore[list-item]

    with serve_dask(tmp_path, {"PYTHONPATH": str(ROOT)}) as dask:
        monkeypatch.setenv(shards.SCHEDULER, dask.address)
        monkeypatch.setattr(shards, "shard", poison.easy)
        (receipts,) = job("one", "two", "three")
        assert len(receipts) == 3
        monkeypatch.setattr(shards, "shard", poison.deadly)
        with pytest.raises(PermanentError, match="shard poison: its Dask workers died") as caught:
            job("one", "poison", "two")
        assert failed_stage(caught.value) == "shard"


def test_a_scheduler_that_is_not_there_is_one_clear_error(
    harness: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import shards

    monkeypatch.setenv(shards.SCHEDULER, "tcp://127.0.0.1:9")
    monkeypatch.setattr(shards, "CONNECT_SECONDS", 2)

    @flow
    def job() -> None:
        shards.run_shards([], "store", "stream")

    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        job()


def _shards(stage: Stage, run: UUID) -> list[TaskRun]:
    return [
        task
        for task in stage.task_runs(run)
        if task.name.startswith("shard") and task.state_name == "Completed"
    ]
