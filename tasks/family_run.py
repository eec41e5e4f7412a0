"""Stage family: one family as a run of a deployment, on whatever machine its work pool has.

The run's key says which parent it belongs to, so that a parent that is retried finds its running
children, and starts another one only for a family that has failed.
"""

import time
from itertools import count
from typing import Any, cast
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from tasks.comparison.run_config import RunConfig
from tasks.core.errors import InputError, PermanentError
from tasks.core.families import find_family
from tasks.core.family_result import FamilyResult
from tasks.runtime.outcome import read_outcome
from tasks.runtime.run_names import family_title
from tasks.runtime.stage import IN_STAGE, stage

__all__ = ["family_run"]

WORDS = "Flow run encountered an exception: "
POLL_SECONDS = 5.0  # 256 waiting families are 50 requests a second
RETRIES = 6  # about four minutes: a server that is being restarted is no failed family


@stage(lambda family, config: f"family {family_title(family, config.alpha, config.curve)}", retries=RETRIES)
def family_run(family: str, deployment: str, config: RunConfig) -> FamilyResult:
    """Runs a family by its deployment and waits for its end; its result, as its flow published it.

    Raises:
        InputError: there is no such deployment.
        PermanentError: the run failed, crashed or was cancelled; its message says why.
    """
    run = _start_run(family, deployment, config)
    with get_client(sync_client=True) as client:
        state = _wait(client, run.id)
        outcome = read_outcome(client, run.id)
    if state.is_completed() and outcome:
        return outcome
    if state.is_completed():
        raise PermanentError(f"run {run.id}: completed, and left no outcome; run the family by itself")
    raise _failure(state, outcome)


def _wait(client: SyncPrefectClient, run: UUID) -> State[Any]:
    """Waits for a run's final state, as long as the run that waits for it is not cancelled.

    A cancelled parent's process ends only when its threads do; then its hook cancels the children.
    """
    parent = UUID(str(runtime.flow_run.id))
    both = FlowRunFilter(id=FlowRunFilterId(any_=[run, parent]))
    while True:
        states = {flow_run.id: flow_run.state for flow_run in client.read_flow_runs(flow_run_filter=both)}
        if (state := states[run]) and state.is_final():
            return state
        if (state := states[parent]) and (state.is_cancelling() or state.is_cancelled()):
            raise PermanentError("cancelled with the run that waited for it")
        time.sleep(POLL_SECONDS)


def _start_run(family: str, deployment: str, config: RunConfig) -> FlowRun:
    """The first attempt that has not failed: one that runs, that has completed, or a new one.

    A pool that hands out GPUs (Kubernetes) gives the run as many as the family's engine uses.
    """
    parameters = {"family": family, "config": config.model_dump(mode="json")}
    for attempt in count():
        try:
            begun = run_deployment(
                deployment,
                parameters=parameters,
                timeout=0,
                as_subflow=True,
                idempotency_key=f"{runtime.flow_run.id}-{family}-{attempt}",
                job_variables={"gpus": find_family(family).gpus},
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


def _failure(state: State[Any], outcome: FamilyResult | None) -> PermanentError:
    """The child's own error; of one that crashed or was cancelled, what Prefect says of it."""
    if not (state.is_failed() and outcome and outcome.reason):
        return PermanentError((state.message or str(state.name)).removeprefix(WORDS))
    error = PermanentError(outcome.reason)
    if outcome.stage:
        error.add_note(IN_STAGE + outcome.stage)
    return error
