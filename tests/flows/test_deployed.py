"""Flows on a server: a family as a run of its own deployment, and a night whose gain has dropped.

The demo's checkpoints are extrapolated for real and its rule judges; an endpoint answers in place of vLLM.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from tasks.benchmarks.judge_config import Judge
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
from tasks.core.errors import ExpoError
from tasks.reports.run_report import RunReport
from tests.servers.judge import JudgeServer
from tests.servers.prefect import bootstrap, serve_worker
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("demo_pair")]

KIND = "Dear friend, I am glad and grateful, and hope that you enjoy a lovely, wonderful day."


@pytest.fixture
def models() -> Iterator[JudgeServer]:
    """Both arms: + ExPO is kind, the original says hardly a word."""
    with JudgeServer() as server:
        server.says = lambda body: KIND if body["model"] == "expo" else "Hello"
        yield server


def _generation(models: JudgeServer) -> GenerationConfig:
    return GenerationConfig(endpoint=ArmEndpoints(base_url=models.url, original="original", expo="expo"))


def _report(uri: str | Path) -> RunReport:
    return RunReport.model_validate_json((Path(uri) / "report.json").read_bytes())


def test_families_as_runs_of_their_own(prefect: str, models: JudgeServer, tmp_path: Path) -> None:
    """One ends with its verdict, one fails with its own reason, and the parent's report has both."""
    from flows.expo import expo
    from flows.parameters import FamilyName

    bootstrap(prefect)
    store = tmp_path / "store"
    with serve_worker(prefect, "expo", tmp_path), pytest.raises(ExpoError, match="1 of 2 families failed"):
        expo(
            (FamilyName("demo"), FamilyName("zephyr-7b-beta")),
            curve=(1.0,),
            judge=Judge(model="longer", base_url=models.url),
            store=str(store),
            generation=_generation(models),
            deployment="expo-family/cpu",
        )
    (report,) = map(_report, store.glob("reports/*"))
    (failure,) = report.failures
    assert failure.family == "zephyr-7b-beta" and "held-out instructions" in failure.reason
    (timeline,) = report.timelines
    assert timeline.family == "demo" and {"generate", "judge", "verdict"} < {
        row.stage for row in timeline.rows
    }
    assert 0 <= timeline.in_no_stage < timeline.seconds


def test_a_night_with_a_smaller_gain_is_an_event(prefect: str, models: JudgeServer, tmp_path: Path) -> None:
    from flows.nightly import nightly
    from flows.parameters import FamilyName

    def night(fresh: bool) -> RunReport:
        return _report(
            nightly((FamilyName("demo"),), store=str(tmp_path), fresh=fresh, generation=_generation(models))
        )

    (first,) = night(fresh=False).verdicts
    asked = len(models.bodies)
    night(fresh=False)
    assert len(models.bodies) == asked, "nothing is new, and nothing is asked"
    models.says = lambda _: "Hello"
    (second,) = night(fresh=True).verdicts
    assert len(models.bodies) == asked + 3 * 400, "both arms, and the original once more"
    assert first.outcome == "better" and second.outcome != "better"

    wait_until(lambda: bool(_events("expo.nightly.drop")), "the event of the drop")
    (drop,) = _events("expo.nightly.drop")
    assert drop["resource"]["prefect.resource.id"].endswith("demo")
    assert _events("expo.nightly.missing") == []


def _events(name: str) -> list[dict[str, Any]]:
    """The server's events of this name."""
    with get_client(sync_client=True) as client:
        asked = {"filter": {"event": {"name": [name]}}}
        found: list[dict[str, Any]] = client.request("POST", "/events/filter", json=asked).json()["events"]
    return found
