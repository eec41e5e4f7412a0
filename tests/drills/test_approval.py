"""Approvals: a deployment's run is suspended, its process ends, and a person's answer decides.

A flow of the drill's own shows the mechanism; the deployment expo-search/search asks for real.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil  # type: ignore[import-untyped]
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectHTTPStatusError

from deployments.automations import SILENCE
from tasks.benchmarks.judge_config import Judge
from tasks.search.objectives import ObjectiveConfig
from tests.drills.spending import spend
from tests.drills.stage import POLL, Stage
from tests.parts import lacks
from tests.search.places import small_config
from tests.servers.browser import CHROMIUM, Browser, open_browser
from tests.servers.prefect import PrefectServer, bootstrap, end, reporting_to
from tests.servers.s3 import S3Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

ROOT = Path(__file__).parents[2]
LITTLE, MUCH = "10 requests, about $1.00", "2,000 requests, about $90.00"
NOBODY = "http://127.0.0.1:9/v1"  # where no judge answers: none is asked
HEARTBEATS = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with the project's deployments and the flow `spend`, and workers for both pools."""
    folder = tmp_path_factory.mktemp("approval")
    with PrefectServer(folder / "prefect") as server, reporting_to(server.url):
        bootstrap(server.url)
        _deploy_spend()
        made = Stage(folder, server, S3Server(Path()), {}, {})
        workers = [made.worker(pool, pool=pool) for pool in ("expo", "expo-gpu")]
        try:
            yield made
        finally:
            for worker in workers:
                end(worker)


def test_an_approved_run_starts_over_and_is_not_asked_again(stage: Stage, tmp_path: Path) -> None:
    """Each estimate is asked for once; what was approved for one does not hold for another."""
    ledger = tmp_path / "ledger"
    run = stage.begin("spend/drill", ledger=str(ledger), estimates=[LITTLE, MUCH])
    assert _form(stage, run) == f"This run will take {LITTLE}."
    wait_until(lambda: not psutil.pid_exists(_begun(ledger)[0]), "the end of the suspended run's process")
    _answer(run, go_on=True)
    assert _form(stage, run, estimate=MUCH) == f"This run will take {MUCH}."
    assert "spent" not in ledger.read_text()
    _answer(run, go_on=True)
    ended = stage.ended(run)
    assert ended.state and ended.state.is_completed(), stage.log("expo")
    assert len(set(_begun(ledger))) == 3, "two suspensions, three processes"
    assert ledger.read_text().count("spent") == 1


def test_a_refused_run_fails_and_has_spent_nothing(stage: Stage, tmp_path: Path) -> None:
    """The answer comes at once, while the suspended process is still there: for a moment the run has two."""
    ledger = tmp_path / "ledger"
    run = stage.begin("spend/drill", ledger=str(ledger), estimates=[LITTLE])
    _form(stage, run)
    _answer(run, go_on=False)
    ended = stage.ended(run)
    assert ended.state and ended.state.is_failed(), stage.log("expo")
    assert "not approved: the run ends before it has spent anything" in str(ended.state.message)
    assert len(_begun(ledger)) == 2 and "spent" not in ledger.read_text()


def test_a_suspended_run_is_not_taken_for_a_dead_one(stage: Stage, tmp_path: Path) -> None:
    """The automation that crashes runs without heartbeats leaves a run alone that waits for a person."""
    run = stage.begin("spend/drill", ledger=str(tmp_path / "ledger"), estimates=[LITTLE])
    _form(stage, run)
    since = _state(stage, run).timestamp
    silence = SILENCE + timedelta(seconds=30)  # the server looks at its triggers every few seconds
    wait_until(lambda: datetime.now(UTC) - since > silence, "a silence that would crash a run", every=POLL)
    state = _state(stage, run)
    assert state.name == "Suspended", state.message
    _answer(run, go_on=False)
    assert stage.ended(run).state


def test_the_form_is_on_the_runs_page(stage: Stage, tmp_path: Path) -> None:
    """The estimate and the question, once its button Resume is clicked."""
    if CHROMIUM is None:
        lacks("browser", "no chromium is installed: the form cannot be looked at")
    run = stage.begin("spend/drill", ledger=str(tmp_path / "ledger"), estimates=[LITTLE])
    said = _form(stage, run)
    resume = "[...document.querySelectorAll('button')].find(button => button.innerText.trim() == 'Resume')"
    pictures = Path(os.environ.get("EXPO_SCREENSHOTS") or tmp_path)
    with open_browser() as browser:
        browser.open(f"{stage.prefect.url.removesuffix('/api')}/runs/flow-run/{run}")
        wait_until(lambda: browser.evaluate(f"!!{resume}"), "the button Resume")
        browser.evaluate(f"{resume}.click()")
        try:
            for words in (said, "otherwise the run fails"):
                wait_until(partial(_shown, browser, words), words)
        finally:
            browser.picture(pictures / "approval.png")
    _answer(run, go_on=False)
    assert stage.ended(run).state


def test_the_deployment_of_a_search_asks_with_its_estimate(stage: Stage, tmp_path: Path) -> None:
    """Who says no has neither resolved nor asked anything: the checkpoints and the judge do not exist."""
    prompts, store = tmp_path / "prompts.jsonl", tmp_path / "store"
    prompts.write_text("\n".join(json.dumps({"prompt": f"Say something about {n}."}) for n in range(64)))
    judge = Judge(model="some-judge", base_url=NOBODY)
    run = stage.begin(
        "expo-search/search",
        config=small_config(ObjectiveConfig(judge=judge)).model_dump(mode="json"),
        aligned="nobody/nothing",
        sft="nobody/nothing-sft",
        prompts=str(prompts),
        store=str(store),
        ask_before_judging=True,
    )
    said = _form(stage, run)
    assert "some-judge will judge at most: " in said and "requests" in said
    assert not list(store.rglob("*"))
    _answer(run, go_on=False)
    ended = stage.ended(run)
    assert ended.state and "not approved" in str(ended.state.message), stage.log("expo-gpu")
    assert not list(store.rglob("*"))


def _deploy_spend() -> None:
    """As `prefect deploy` would, of a file that is no part of the installed packages."""
    where = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    with get_client(sync_client=True) as client:
        client.create_deployment(
            client.create_flow(spend),
            "drill",
            work_pool_name="expo",
            entrypoint="tests/drills/spending.py:spend",
            pull_steps=[where],
            enforce_parameter_schema=False,
            job_variables={"env": HEARTBEATS},
        )


def _form(stage: Stage, run: UUID, estimate: str = "") -> str:
    """Waits until a run is suspended, for this estimate; what its form says."""
    found: list[str] = []

    def asked() -> bool:
        state = _state(stage, run)
        assert not state.is_final(), f"{state}\n{stage.log('expo')}"
        if state.name != "Suspended" or not (keys := state.state_details.run_input_keyset):
            return False
        with (
            get_client(sync_client=True) as client,
            suppress(PrefectHTTPStatusError),
        ):  # written after the state
            found[:] = [json.loads(client.read_flow_run_input(run, keys["description"]))]
        return bool(found) and estimate in found[0]

    wait_until(asked, "a suspended run with its form", every=POLL)
    return found[0]


def _answer(run: UUID, *, go_on: bool) -> None:
    with get_client(sync_client=True) as client:
        client.resume_flow_run(run, run_input={"go_on": go_on})


def _state(stage: Stage, run: UUID) -> State:
    state = stage.run_of(run).state
    assert state
    return state


def _begun(ledger: Path) -> list[int]:
    """The processes that the run has had."""
    return [int(line.split()[1]) for line in ledger.read_text().splitlines() if line.startswith("begun")]


def _shown(browser: Browser, words: str) -> bool:
    return words in browser.evaluate("document.body.innerText")
