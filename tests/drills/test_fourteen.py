"""Drill 1: fourteen families from the Hub to fourteen verdicts, on S3, by one worker; no record is lost."""

import time
from collections import Counter

import pytest

from tests.drills.conftest import Record
from tests.drills.stage import FOURTEEN, Stage, report_of
from tests.servers.prefect import end

pytestmark = [pytest.mark.slow, pytest.mark.drill]


def test_fourteen_verdicts_and_no_record_lost(stage: Stage, record: Record) -> None:
    worker = stage.worker("fourteen")
    try:
        start = time.monotonic()
        run = stage.begin("expo/all-models", families=list(FOURTEEN), judge=stage.judge)
        ended = stage.ended(run)
        seconds = time.monotonic() - start
        assert ended.state and ended.state.is_completed(), stage.log("fourteen")
        report = report_of(stage, ended)
        assert [verdict.family for verdict in report.verdicts] == list(FOURTEEN)
        tasks = stage.task_runs(run)
        states = Counter(task.state_name for task in tasks)
        per_stage = Counter(task.name.split()[0] for task in tasks)
        record(
            "fourteen",
            seconds=round(seconds),
            tasks=len(tasks),
            states=states,
            stages=per_stage,
            server_megabytes=round(stage.prefect.memory() / 1e6),
        )
        assert set(states) == {"Completed"}
        assert len(stage.children(run)) == 14
        models = [name for name in stage.files() if name.startswith("/models/")]
        # every record of a shard's four tasks, and of what each family does once
        for name in ("shard", "download", "extrapolate", "upload"):
            assert per_stage[name] == len(models)
        for name in ("resolve", "plan", "seal", "verdict", "instructions"):
            assert per_stage[name] == 14
        assert per_stage["generate"] == per_stage["judge"] == 28

        start = time.monotonic()
        again = stage.ended(stage.begin("expo/all-models", families=list(FOURTEEN), judge=stage.judge))
        assert again.state and again.state.is_completed()
        record("fourteen, cached", seconds=round(time.monotonic() - start))
    finally:
        end(worker)
