"""Events for people: a run emits them to the Prefect server, whose automations pass them on.

expo.nightly.drop        a family's gain is lower than it was, by more than noise explains
expo.nightly.missing     a family that had a verdict has none
expo.judge.drift         the judge no longer says of the anchors what it said
expo.judge.overspent     a judge's budget is used up before a run is done

And for an automation: expo.run.suspended, about a flow run that waits for a person without a process.
"""

from uuid import UUID

from prefect.events import emit_event
from prefect.runtime import flow_run

from tasks.runtime.progress import run_logger

__all__ = ["DRIFT", "DROP", "MISSING", "OVERSPENT", "SUSPENDED", "emit", "emit_suspended"]

DROP, MISSING = "expo.nightly.drop", "expo.nightly.missing"
DRIFT, OVERSPENT = "expo.judge.drift", "expo.judge.overspent"
SUSPENDED = "expo.run.suspended"


def emit(event: str, about: str, message: str) -> None:
    """Emits an event about a family or a judge, and says the same in the log; outside a run, only that."""
    run_logger().warning(f"{event}: {message}")
    if not flow_run.id:
        return
    emit_event(
        event=event,
        resource={"prefect.resource.id": f"expo.{about}", "prefect.resource.name": about},
        related=[
            {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
        ],
        payload={"message": message},
    )


def emit_suspended(run: UUID) -> None:
    """Says that this process ends until its run is resumed, behind the last heartbeat that it has sent."""
    emit_event(event=SUSPENDED, resource={"prefect.resource.id": f"prefect.flow-run.{run}"})
