"""Stage family: one family as a run of a deployment, on whatever machine its work pool has.

The run's key says which parent it belongs to, so that a parent that is retried finds its running
children, and starts another only for a family that has failed.
"""

import json
import time
from collections.abc import Callable
from functools import wraps
from itertools import count
from typing import Any, ParamSpec, cast
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from tasks.core.errors import InputError, PermanentError
from tasks.core.families import family as find
from tasks.core.values import Value
from tasks.runtime.stage import IN_STAGE, failed_stage, stage

__all__ = ["family_run", "tells_parent"]

OUTCOME = "expo-family"
WORDS = "Flow run encountered an exception: "
POLL_SECONDS = 5.0  # 256 waiting families are 50 requests a second
RETRIES = 6  # about four minutes: a server that is being restarted is no failed family

P = ParamSpec("P")


@stage("family {family}", retries=RETRIES)
def family_run(family: str, deployment: str, parameters: dict[str, Any]) -> str | None:
    """Runs a family by its deployment and waits for its end; the uri of its report, as its flow gives it.

    Raises:
        InputError: there is no such deployment.
        PermanentError: the run failed, crashed or was cancelled; its message says why.
    """
    run = _begun(family, deployment, {"family": family, **parameters})
    with get_client(sync_client=True) as client:
        state = _ended(client, run.id)
        outcome = _outcome(client, run.id)
    if state.is_completed() and outcome:
        return outcome.report
    if state.is_completed():
        raise PermanentError(f"run {run.id}: completed, and left no outcome; run the family by itself")
    raise _failure(state, outcome)


def tells_parent(family_flow: Callable[P, str | None]) -> Callable[P, str | None]:
    """A family's flow that leaves its outcome where its parent, on another machine, and the UI find it.

    It is there before the run has ended, unlike the records of its task runs.
    """

    @wraps(family_flow)
    def told(*args: P.args, **kwargs: P.kwargs) -> str | None:
        family = str(kwargs.get("family") or args[0])
        try:
            report = family_flow(*args, **kwargs)
        except Exception as error:
            _tell(_Outcome(family=family, stage=failed_stage(error), reason=str(error) or repr(error)))
            raise
        _tell(_Outcome(family=family, report=report))
        return report

    return told


class _Outcome(Value):
    """What became of a family: a report, none where it was extrapolated only, or why it failed."""

    family: str
    report: str | None = None
    stage: str = ""
    reason: str = ""


def _tell(outcome: _Outcome) -> None:
    told = outcome.reason or outcome.report or "extrapolated only"
    create_table_artifact([outcome.model_dump()], key=OUTCOME, description=f"{outcome.family}: {told}")


def _ended(client: SyncPrefectClient, run: UUID) -> State[Any]:
    """Waits for a run's final state, as long as the run that waits for it is not cancelled.

    A cancelled parent's process ends only when its threads do; then its hook cancels the children.
    """
    parent = UUID(str(flow_run.id))
    both = FlowRunFilter(id=FlowRunFilterId(any_=[run, parent]))
    while True:
        states = {one.id: one.state for one in client.read_flow_runs(flow_run_filter=both)}
        if (state := states[run]) and state.is_final():
            return state
        if (state := states[parent]) and (state.is_cancelling() or state.is_cancelled()):
            raise PermanentError("cancelled with the run that waited for it")
        time.sleep(POLL_SECONDS)


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


def _outcome(client: SyncPrefectClient, run: UUID) -> _Outcome | None:
    """What a run has told last; None if it was killed before it could."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[OUTCOME]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
        )
    )
    if not found:
        return None
    (row,) = json.loads(str(max(found, key=lambda one: str(one.updated)).data))
    return _Outcome.model_validate(row)


def _failure(state: State[Any], outcome: _Outcome | None) -> PermanentError:
    """The child's own error; of one that crashed or was cancelled, what Prefect says of it."""
    if not (state.is_failed() and outcome and outcome.reason):
        return PermanentError((state.message or str(state.name)).removeprefix(WORDS))
    error = PermanentError(outcome.reason)
    if outcome.stage:
        error.add_note(IN_STAGE + outcome.stage)
    return error
