"""A person's word before a flow spends money: a form in the UI with the estimate on it."""

from prefect.context import FlowRunContext
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput

from tasks.core.errors import InputError

__all__ = ["require_approval"]

KEY = "costs"  # a run that was approved does not ask again when it starts over
WAIT = 7 * 24 * 3600  # seconds until a run that nobody answers fails
POLL = 2  # seconds


class Approval(RunInput):
    """The form: whether the run goes on."""

    go_on: bool


def require_approval(estimate: str) -> None:
    """Waits until a person has read the estimate and lets the flow run go on.

    A run of a deployment is suspended: its process ends, and it starts over once it is answered. Any other
    run waits. Must be called in a flow, before anything that should not be done twice.

    Raises:
        InputError: the person says no.
    """
    form = Approval.with_initial_data(description=f"This run will take {estimate}.", go_on=False)
    context = FlowRunContext.get()
    if context and context.flow_run and context.flow_run.deployment_id:
        answer = suspend_flow_run(wait_for_input=form, timeout=WAIT, key=KEY)
    else:
        answer = pause_flow_run(wait_for_input=form, timeout=WAIT, poll_interval=POLL, key=KEY)
    if answer is None or not answer.go_on:
        raise InputError("not approved: the run ends before it has spent anything")
