"""A person's word before a flow spends money: a form in the UI with the estimate on it."""

import time
from hashlib import sha256

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.core.errors import InputError
from tasks.core.text_files import in_markdown
from tasks.runtime.events import emit_suspended

__all__ = ["require_approval"]

WAIT = 7 * 24 * 3600  # seconds until a run that nobody answers fails
POLL = 2  # seconds
SETTLE = 3  # seconds in which a heartbeat just sent is counted: the server takes events at once out of turn


class Approval(RunInput):
    """The form: whether the run goes on."""

    go_on: bool = Field(default=False, description="Whether this may be spent; otherwise the run fails.")


def require_approval(estimate: str) -> None:
    """Waits until a person has read the estimate and lets the flow run go on.

    A run of a deployment is suspended: its process ends, and it starts over once it is answered. Any other
    run waits, and so does one that another run started, since Prefect suspends no sub-flow. An answer holds
    for this run and this estimate, also when the run is retried; another estimate is asked for anew. Must be
    called in a flow, before anything that should not be done twice.

    Raises:
        InputError: the person says no.
    """
    form = Approval.with_initial_data(description=in_markdown(f"This run will take {estimate}."))
    key = f"costs-{sha256(estimate.encode()).hexdigest()[:16]}"
    context = FlowRunContext.get()
    if context and context.flow_run and _can_suspend(context.flow_run):
        try:
            answer = suspend_flow_run(wait_for_input=form, timeout=WAIT, key=key)
        except Pause:
            time.sleep(SETTLE)
            emit_suspended(context.flow_run.id)
            raise
    else:
        answer = pause_flow_run(wait_for_input=form, timeout=WAIT, poll_interval=POLL, key=key)
    if answer is None or not answer.go_on:
        raise InputError(
            "not approved: the run ends before it has spent anything; a new run asks again, a retry does not"
        )


def _can_suspend(run: FlowRun) -> bool:
    return run.deployment_id is not None and run.parent_task_run_id is None
