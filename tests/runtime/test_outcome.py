"""A family's result and its times travel as artifacts, to a parent on another machine."""

import json
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter

from tasks.core.timeline import StageTimes, Timeline
from tasks.runtime import outcome, recorder
from tasks.runtime.outcome import publishes_outcome, read_outcome
from tasks.runtime.recorder import take_timeline

RUN = uuid4()


class _Artifact(NamedTuple):
    key: str
    data: str
    updated: int


class _Server:
    """Keeps the artifacts of one run as Prefect does, as JSON."""

    def __init__(self) -> None:
        self.artifacts: list[_Artifact] = []

    def create(self, table: list[dict[str, Any]], key: str, description: str) -> None:
        assert description
        self.artifacts.append(_Artifact(key, json.dumps(table), len(self.artifacts)))

    def read_artifacts(self, artifact_filter: ArtifactFilter) -> list[_Artifact]:
        assert artifact_filter.key and artifact_filter.key.any_
        assert artifact_filter.flow_run_id and artifact_filter.flow_run_id.any_ == [RUN]
        return [artifact for artifact in self.artifacts if artifact.key in artifact_filter.key.any_]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Server:
    kept = _Server()
    monkeypatch.setattr(outcome, "create_table_artifact", kept.create)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(RUN))
    return kept


def _read(server: _Server, run: UUID = RUN) -> Any:  # noqa: ANN401
    return read_outcome(cast(SyncPrefectClient, server), run)


def test_a_result_is_read_with_its_times(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (StageTimes(stage="judge", label="judge a", work=((1.5, 2.0), (3.0, 4.0)), wait=((1.0, 1.5),)),)
    timeline = Timeline(family="demo", seconds=4.5, rows=rows)
    monkeypatch.setattr(recorder.Recorder, "timeline", lambda _: timeline)
    assert (
        publishes_outcome(lambda family: f"s3://store/verdicts/{family}")("demo")
        == "s3://store/verdicts/demo"
    )
    found = _read(server)
    assert (found.family, found.report, found.reason) == ("demo", "s3://store/verdicts/demo", "")
    assert found.timeline == timeline
    assert take_timeline(str(RUN)) == timeline and take_timeline(str(RUN)) is None, (
        "for a parent in this process"
    )


def test_a_failure_has_its_times_too(server: _Server) -> None:
    def failing(family: str) -> None:
        raise ValueError(f"{family} has failed")

    with pytest.raises(ValueError, match="has failed"):
        publishes_outcome(failing)("demo")
    found = _read(server)
    assert (found.reason, found.timeline.family, found.timeline.rows) == ("demo has failed", "demo", ())


def test_a_result_of_an_earlier_version_has_no_times(server: _Server) -> None:
    assert _read(server) is None
    server.create(
        [{"family": "demo", "report": "uri", "stage": "", "reason": "", "cached": False}], "expo-family", "d"
    )
    assert _read(server).report == "uri" and _read(server).timeline is None
