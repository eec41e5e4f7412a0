"""A family's result as an artifact of its run, where its parent, on another machine, and the UI find it.

It is there before the run has ended, unlike the records of its task runs.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from tasks.core.family_result import FamilyResult
from tasks.core.text_files import in_markdown
from tasks.runtime.stage import failed_stage

__all__ = ["publishes_outcome", "read_outcome"]

OUTCOME = "expo-family"

P = ParamSpec("P")


def publishes_outcome(family_flow: Callable[P, str | None]) -> Callable[P, str | None]:
    """Makes a family's flow publish its result as an artifact, however it ends."""

    @wraps(family_flow)
    def publishing(*args: P.args, **kwargs: P.kwargs) -> str | None:
        family = str(kwargs.get("family") or args[0])
        try:
            report = family_flow(*args, **kwargs)
        except Exception as error:
            reason = str(error) or repr(error)
            _publish(FamilyResult(family=family, stage=failed_stage(error), reason=reason))
            raise
        _publish(FamilyResult(family=family, report=report))
        return report

    return publishing


def read_outcome(client: SyncPrefectClient, run: UUID) -> FamilyResult | None:
    """What a run has published last; None if it was killed before it could."""
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[OUTCOME]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
        )
    )
    if not artifacts:
        return None
    (row,) = json.loads(str(max(artifacts, key=lambda artifact: str(artifact.updated)).data))
    return FamilyResult.model_validate(row)


def _publish(result: FamilyResult) -> None:
    summary = result.reason or result.report or "extrapolated only"
    create_table_artifact(
        [result.model_dump()], key=OUTCOME, description=in_markdown(f"{result.family}: {summary}")
    )
