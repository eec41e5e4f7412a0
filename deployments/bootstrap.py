"""Sets a Prefect server up for `prefect deployment run expo/all-models`; a second run changes nothing.

    export PREFECT_API_URL=http://…:4200/api EXPO_HOME=$PWD
    python -m deployments.bootstrap                                  one machine: process workers
    python -m deployments.bootstrap --kind kubernetes --gpus 64      a cluster
    python -m deployments.bootstrap --notify slack-webhook/team      and notify people

It makes what is missing: the pools `expo` and `expo-gpu` with their queues, the limits that runs
share, the automations, and the deployments of prefect.yaml. What an operator has changed since
stays, but for limits that are given here and the notification of the automations.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from deployments.automations import automations, notification
from deployments.exposure import unlocked
from deployments.job_templates import PoolKind, base_job_template
from flows.parameters import default_store
from tasks.core.errors import ExpoError, InputError, RetryableError
from tasks.runtime.limits import GPUS, HUB_DOWNLOADS, JUDGE_REQUESTS
from tasks.stores.s3 import filesystem
from tasks.stores.s3_errors import s3_errors

__all__ = ["LOCKED_UP", "bootstrap", "make_bucket"]

ROOT = Path(__file__).parents[1]
# priority 1 goes first: families before the parents that wait for them, nights when all else is quiet
QUEUES = {"expo": {"families": 1, "parents": 2, "nightly": 3}, "expo-gpu": {"families": 1}}
LIMITS = {GPUS: 8, HUB_DOWNLOADS: 8, JUDGE_REQUESTS: 64}
ANSWER_SECONDS = 60.0  # a busy server answers within a few
LOCKED_UP = "the Prefect server does not answer any more"
"""How the error begins by which a server that has to be started again is told from any other."""


def bootstrap(kind: PoolKind, limits: dict[str, int | None], notify: str | None) -> list[str]:
    """Makes what is missing; what it did, a line each, none if there was nothing to do.

    Args:
        kind: of the work pools' workers.
        limits: slots by the limit's name; None: as it is, or the default where it is not there yet.
        notify: a block that notifies people, as "slack-webhook/team".

    Raises:
        InputError: the block does not exist, or the kind's worker is not installed.
        RetryableError: the server does not answer, and has to be started again.
    """
    done: list[str] = []
    with get_client(sync_client=True) as client:
        for pool, queues in QUEUES.items():
            done += _pool(client, pool, kind, queues)
        for name, slots in limits.items():
            done += _limit(client, name, slots)
    with _asking_once() as client:
        done += _automations(client, notify)
    return done


@contextmanager
def _asking_once() -> Iterator[SyncPrefectClient]:
    """A client that does not wait long, nor ask again, for what a server on SQLite may never answer.

    Every five seconds a server looks through its automations. Where one is made or changed at that moment,
    Prefect before 3.8.8 on SQLite waits for itself, and answers nobody (PrefectHQ/prefect, issue 23055).

    Raises:
        RetryableError: the server does not answer.
    """
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True) as client,
    ):
        try:
            yield client
        except httpx.TimeoutException as error:
            raise RetryableError(
                f"{LOCKED_UP}: nothing for {ANSWER_SECONDS:.0f} s while automations were made. Before "
                "version 3.8.8 one on SQLite can lock itself up then (Prefect's issue 23055). End it with "
                "kill -9, start it, and run this again: what has been made stays"
            ) from error


def _pool(client: SyncPrefectClient, name: str, kind: PoolKind, queues: dict[str, int]) -> list[str]:
    done = []
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = base_job_template(kind, gpu=name.endswith("-gpu"))
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        done.append(f"work pool {name} ({kind})")
    there = {queue.name for queue in client.read_work_queues(work_pool_name=name)}
    for queue, priority in queues.items():
        if queue not in there:
            client.create_work_queue(queue, work_pool_name=name, priority=priority)
            done.append(f"work queue {name}/{queue}, priority {priority}")
    return done


def _limit(client: SyncPrefectClient, name: str, slots: int | None) -> list[str]:
    try:
        held = client.read_global_concurrency_limit_by_name(name).limit
    except ObjectNotFound:
        held = slots or LIMITS[name]
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=held))
        return [f"limit {name}: {held}"]
    if slots is None or slots == held:
        return []
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=slots))
    return [f"limit {name}: {slots}, was {held}"]


def _automations(client: SyncPrefectClient, notify: str | None) -> list[str]:
    done = []
    for wanted in automations(notification(client, notify)):
        there = client.read_automations_by_name(wanted.name)
        if not there:
            client.create_automation(wanted)
            done.append(f"automation {wanted.name}")
        elif notify and there[0].actions != wanted.actions:
            client.update_automation(there[0].id, wanted)
            done.append(f"automation {wanted.name}: notifies {notify}")
    return done


def make_bucket(store: str) -> list[str]:
    """Makes the bucket of a store on an S3 server of one's own; on AWS buckets are made by their owner."""
    if not store.startswith("s3://") or not os.environ.get("AWS_ENDPOINT_URL"):
        return []
    bucket = store.removeprefix("s3://").partition("/")[0]
    with s3_errors(store):
        files = filesystem(os.getpid())
        if files.exists(bucket):
            return []
        files.mkdir(bucket)
    return [f"bucket {bucket}"]


def main() -> None:
    """Reads the options, bootstraps, and deploys prefect.yaml."""
    parser = argparse.ArgumentParser(prog="python -m deployments.bootstrap", description=bootstrap.__doc__)
    parser.add_argument("--kind", choices=["process", "docker", "kubernetes"], default="process")
    parser.add_argument("--gpus", type=int, help=f"GPUs that engines may hold at once ({LIMITS[GPUS]})")
    parser.add_argument("--hub-downloads", type=int, help=f"shards at once ({LIMITS[HUB_DOWNLOADS]})")
    parser.add_argument("--judge-requests", type=int, help=f"in flight ({LIMITS[JUDGE_REQUESTS]})")
    parser.add_argument("--notify", metavar="TYPE/NAME", help="a webhook or notification block")
    given = parser.parse_args()
    url = PREFECT_API_URL.value()
    if not url:
        raise InputError("set PREFECT_API_URL to the server's, as http://127.0.0.1:4200/api")
    limits = {GPUS: given.gpus, HUB_DOWNLOADS: given.hub_downloads, JUDGE_REQUESTS: given.judge_requests}
    if warning := unlocked(url):
        print(warning, file=sys.stderr)
    for line in [*make_bucket(default_store()), *bootstrap(given.kind, limits, given.notify)]:
        print(line)
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run([*deploy, "--prefect-file", "deployments/prefect.yaml"], cwd=ROOT, check=True)


if __name__ == "__main__":
    try:
        main()
    except ExpoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
