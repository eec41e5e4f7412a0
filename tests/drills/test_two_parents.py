"""Drill 3: two parents at once on the same family: both end, with the same bytes, none of them torn."""

import json
import time
from hashlib import sha256

import pytest

from tests.drills.conftest import Record
from tests.drills.stage import Stage, report_of
from tests.servers.prefect import end
from tests.servers.s3 import BUCKET

pytestmark = [pytest.mark.slow, pytest.mark.drill]

FAMILY = "starling-lm-7b-beta"


def test_two_parents_do_not_corrupt_each_other(stage: Stage, record: Record) -> None:
    worker, start = stage.worker("two"), time.monotonic()
    store = f"s3://{BUCKET}/two"
    try:
        asked = {"families": [FAMILY], "judge": stage.judge, "store": store}
        runs = [stage.begin("expo/all-models", **asked) for _ in range(2)]
        ended = [stage.ended(run) for run in runs]
    finally:
        end(worker)
    record("two parents", seconds=round(time.monotonic() - start))
    assert [run.state and run.state.is_completed() for run in ended] == [True, True], stage.log("two")
    figures = [[verdict.model_dump() for verdict in report_of(stage, run, "two").verdicts] for run in ended]
    assert figures[0] == figures[1] and len(figures[0]) == 1
    models = {name: digest for name, digest in stage.files("two").items() if name.startswith("/models/")}
    (folder,) = {name.split("/")[2] for name in models}
    manifest = json.loads(stage.read(f"models/{folder}/manifest.json", "two") or b"")
    for file in manifest["files"]:
        content = stage.read(f"models/{folder}/{file['name']}", "two") or b""
        assert sha256(content).hexdigest() == file["sha256"]
    assert {name.rpartition("/")[2] for name in models} < {file["name"] for file in manifest["files"]}
