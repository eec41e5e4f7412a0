"""The server's automations: end runs whose machine is dead, and notify people of failures."""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from tasks.core.errors import InputError
from tasks.runtime.events import DRIFT, DROP, MISSING, OVERSPENT, SUSPENDED

__all__ = ["automations", "notification"]

# Three heartbeats of 30 s (deployments/prefect.yaml): a busy machine may miss one.
SILENCE = timedelta(seconds=90)
HEARTBEAT = "prefect.flow-run.heartbeat"
# After these a run's process sends none. Of a suspended run it has ended, until a person answers; the server
# may get Prefect's own event of that before the last heartbeat, and ours behind it.
ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "Suspended")
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.expo"}
SUBJECT = "ExPO: {{ event.event }}"
BODY = "{{ event.event }} of {{ event.resource.name }}\n{{ event.payload }}"


def automations(notify: ActionTypes) -> tuple[AutomationCore, ...]:
    """The project's automations, each known by its name; `notify` is the block that notifies people."""
    return (
        AutomationCore(
            name="expo: zombies",
            description="A run that sends no heartbeat for 90 s is crashed: its machine is dead.",
            trigger=EventTrigger(
                after={HEARTBEAT},
                expect={HEARTBEAT, SUSPENDED, *(f"prefect.flow-run.{end}" for end in ENDS)},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    name=None,
                    force=False,
                    message="no heartbeat for 90 s: the machine is dead; prefect flow-run retry goes on",
                )
            ],
        ),
        AutomationCore(
            name="expo: failures",
            description="Tells when a run of the project has failed or crashed.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=OURS,
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[notify],
        ),
        _told(
            "expo: nightly",
            "Tells of a drop beyond the noise, a missing family, a judge that drifts.",
            {DROP, MISSING, DRIFT},
            notify,
        ),
        _told(
            "expo: budget", "Tells when a judge may ask no more and a run is not done.", {OVERSPENT}, notify
        ),
    )


def notification(client: SyncPrefectClient, block: str | None) -> ActionTypes:
    """The action that notifies people: a webhook or notification block ("slack-webhook/team"), else the UI.

    Raises:
        InputError: there is no such block.
    """
    if block is None:
        return DoNothing()
    kind, _, name = block.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind)
    except ObjectNotFound as error:
        raise InputError(f"--notify {block}: no such block; `prefect block ls` shows TYPE/NAME") from error
    if kind == "webhook":
        return CallWebhook(block_document_id=found.id, payload=f"{SUBJECT}\n{BODY}")
    return SendNotification(block_document_id=found.id, subject=SUBJECT, body=BODY)


def _told(name: str, description: str, events: set[str], notify: ActionTypes) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(expect=events, posture=Posture.Reactive, threshold=1),
        actions=[notify],
    )
