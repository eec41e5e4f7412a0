"""A family's result as an artifact of its run, where its parent, on another machine, and the UI find it.

It is there before the run has ended, unlike the records of its task runs.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from tasks.core.family_result import FamilyResult
from tasks.core.text_files import in_markdown
from tasks.core.timeline import StageTimes, Timeline
from tasks.runtime.recorder import record_run
from tasks.runtime.stage import failed_stage

__all__ = ["publishes_outcome", "read_outcome"]

OUTCOME, TIMES = "expo-family", "expo-times"
WHOLE = "run"  # the row of the whole run, in the artifact of its times

P = ParamSpec("P")


def publishes_outcome(family_flow: Callable[P, str | None]) -> Callable[P, str | None]:
    """Makes a family's flow publish its result as an artifact, however it ends."""

    @wraps(family_flow)
    def publishing(*args: P.args, **kwargs: P.kwargs) -> str | None:
        family = str(kwargs.get("family") or args[0])
        with record_run(family) as recorder:
            try:
                report = family_flow(*args, **kwargs)
            except Exception as error:
                reason = str(error) or repr(error)
                result = FamilyResult(family=family, stage=failed_stage(error), reason=reason)
                _publish(result, recorder.timeline())
                raise
            _publish(FamilyResult(family=family, report=report), recorder.timeline())
            return report

    return publishing


def read_outcome(client: SyncPrefectClient, run: UUID) -> FamilyResult | None:
    """What a run has published last; None if it was killed before it could."""
    outcome, times = (_read_table(client, run, key) for key in (OUTCOME, TIMES))
    if outcome is None:
        return None
    result = FamilyResult.model_validate(outcome[0])
    rows = [StageTimes.model_validate(row) for row in times or ()]
    if not rows or rows[-1].stage != WHOLE:
        return result
    ((_, seconds),) = rows[-1].work
    timeline = Timeline(family=result.family, seconds=seconds, rows=tuple(rows[:-1]))
    return result.model_copy(update={"timeline": timeline})


def _read_table(client: SyncPrefectClient, run: UUID, key: str) -> list[Any] | None:
    """The rows of a run's latest table artifact of this key, None where there is none."""
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
        )
    )
    if not artifacts:
        return None
    rows: list[Any] = json.loads(str(max(artifacts, key=lambda artifact: str(artifact.updated)).data))
    return rows


def _publish(result: FamilyResult, timeline: Timeline) -> None:
    summary = result.reason or result.report or "extrapolated only"
    whole = StageTimes(stage=WHOLE, label="the whole run", work=((0.0, timeline.seconds),))
    create_table_artifact(
        [row.model_dump(mode="json") for row in (*timeline.rows, whole)],
        key=TIMES,
        description=in_markdown(f"{result.family}: when its stages worked and waited, in seconds"),
    )
    create_table_artifact(
        [result.model_dump()], key=OUTCOME, description=in_markdown(f"{result.family}: {summary}")
    )
