"""Models as Prefect's assets: keys that Prefect takes, and the events of a seal and of a publication."""

from typing import Any

import pytest
from prefect.assets import Asset

from tasks.runtime import lineage


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("org/name", "hf://org/name"),
        ("s3://bucket/models/0a", "s3://bucket/models/0a"),
        ("/models/aligned", "file:///models/aligned"),
    ],
)
def test_every_place_has_a_key_that_prefect_takes(place: str, key: str) -> None:
    assert lineage.asset_key(place) == key == Asset(key=key).key


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events that Prefect's own asset code emits, in a run."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr("prefect.events.emit_event", lambda **event: found.append(event))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "3f0f6a34-6f0c-4a3c-9d3c-6c1c6f1a8a11")
    return found


def test_a_model_names_both_parents(events: list[dict[str, Any]]) -> None:
    lineage.emit_materialized("/store/models/0a", ("org/aligned", "org/sft"), {"alpha": 0.3})
    made = [event for event in events if event["event"] == "prefect.asset.materialization.succeeded"]
    (event,) = made
    assert event["resource"]["prefect.resource.id"] == "file:///store/models/0a"
    assert event["payload"] == {"alpha": 0.3}
    related = {one["prefect.resource.id"]: one["prefect.resource.role"] for one in event["related"]}
    assert related == {
        "hf://org/aligned": "asset",
        "hf://org/sft": "asset",
        "expo-flows": "asset-materialized-by",
    }


def test_a_name_without_a_key_fails_no_run(
    events: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    lineage.emit_materialized("s3://bucket/a\nb", ("org/sft",), {})
    assert not events and "no asset in Prefect" in caplog.text


def test_outside_a_run_nothing_is_emitted(
    events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID")
    lineage.emit_materialized("/store/models/0a", ("org/aligned", "org/sft"), {"alpha": 0.3})
    assert not events
