"""Stage family: one family as a run of a deployment, on whatever machine its work pool has.

The run's key says which parent it belongs to, so that a parent that is retried finds its running
children, and starts another only for a family that has failed.
"""

import json
import time
from itertools import count
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from tasks.errors import InputError, PermanentError
from tasks.families import family as find
from tasks.stage import IN_STAGE, stage

__all__ = ["family_run", "tell_parent"]

OUTCOME = "expo-family"
WORDS = "Flow run encountered an exception: "
POLL_SECONDS = 2.0
RETRIES = 6  # about four minutes: a server that is being restarted is no failed family


@stage("family {family}", retries=RETRIES)
def family_run(family: str, deployment: str, parameters: dict[str, Any]) -> str | None:
    """Runs a family by its deployment and waits for its end; the uri of its report, as its flow gives it.

    Raises:
        InputError: there is no such deployment.
        PermanentError: the run failed, crashed or was cancelled; its message says why.
    """
    run = _begun(family, deployment, {"family": family, **parameters})
    with get_client(sync_client=True) as client:
        while not ((state := client.read_flow_run(run.id).state) and state.is_final()):
            time.sleep(POLL_SECONDS)
        if state.is_completed():
            return _report(client, run.id)
        raise _failure(client, run.id, state)


def tell_parent(family: str, report: str | None) -> str | None:
    """Leaves a family's outcome where its parent, on another machine, and the UI find it; gives it back."""
    rows = [{"family": family, "report": report}]
    create_table_artifact(rows, key=OUTCOME, description=f"{family}: {report or 'extrapolated only'}")
    return report


def _begun(family: str, deployment: str, parameters: dict[str, Any]) -> FlowRun:
    """The first attempt that has not failed: one that runs, that has completed, or a new one.

    A pool that hands out GPUs (Kubernetes) gives the run as many as the family's engine uses.
    """
    for attempt in count():
        try:
            begun = run_deployment(
                deployment,
                parameters=parameters,
                timeout=0,
                as_subflow=True,
                idempotency_key=f"{flow_run.id}-{family}-{attempt}",
                job_variables={"gpus": find(family).gpus},
            )
        except ObjectNotFound as error:
            raise InputError(
                f"no deployment {deployment!r}; `prefect deployment ls` names those that there are, "
                "`python -m deployments.bootstrap` makes the project's own"
            ) from error
        run = cast(FlowRun, begun)
        if run.state is None or run.state.is_completed() or not run.state.is_final():
            return run
    raise AssertionError("unreachable: the attempts do not end")


def _report(client: SyncPrefectClient, run: UUID) -> str | None:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[OUTCOME]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
        )
    )
    if not found:
        raise PermanentError(f"run {run}: completed, and left no outcome; run the family by itself")
    latest = max(found, key=lambda one: str(one.updated))
    (row,) = json.loads(str(latest.data))
    report: str | None = row["report"]
    return report


def _failure(client: SyncPrefectClient, run: UUID, state: State[Any]) -> PermanentError:
    """The stage that failed first is the innermost: a shard fails because its download did."""
    failed = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.FAILED]), name=None)
        ),
    )
    error = PermanentError((state.message or str(state.name)).removeprefix(WORDS))
    first = min(failed, key=lambda one: str(one.end_time), default=None)
    if first:
        error.add_note(IN_STAGE + first.task_key.rpartition(".")[2].partition("-")[0])
    return error
