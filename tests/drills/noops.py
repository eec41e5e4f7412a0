"""Fourteen families of thirty shards that do nothing: what is left is orchestration's own time.

python -m tests.drills.noops        prints the run's id and its seconds as JSON
"""

import json
import time
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.runtime.stage import stage

FAMILIES, SHARDS = 14, 30


@stage("shard {number}")
def nothing(number: int) -> int:
    return number


RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)


@flow(name="no-ops of a family", task_runner=RUNNER)
def one_family() -> None:
    futures = [nothing.submit(number) for number in range(SHARDS)]
    assert [future.result() for future in futures] == list(range(SHARDS))


@flow(name="no-ops")
def all_families() -> None:
    start = time.monotonic()
    for _ in range(FAMILIES):
        one_family()
    print(json.dumps({"run": str(flow_run.id), "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    all_families()
