"""A fresh server after `python -m deployments.bootstrap`; a second time changes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import bootstrap as module
from tasks.core.errors import RetryableError
from tasks.runtime.events import SUSPENDED
from tests.servers.prefect import bootstrap, serve_prefect, server_at

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_prefect(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="module")
def said(server: str) -> str:
    return bootstrap(server)


@pytest.fixture
def client(server: str, said: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        yield client


def test_pools_queues_and_limits(client: SyncPrefectClient) -> None:
    queues = {
        pool: {queue.name: queue.priority for queue in client.read_work_queues(work_pool_name=pool)}
        for pool in ("expo", "expo-gpu")
    }
    assert queues["expo"]["families"] < queues["expo"]["parents"] < queues["expo"]["nightly"]
    assert "families" in queues["expo-gpu"]
    limits = {limit.name: limit.limit for limit in client.read_global_concurrency_limits()}
    assert {name: limit for name, limit in limits.items() if name.startswith("expo-")} == {
        "expo-gpus": 8,
        "expo-hub-downloads": 8,
        "expo-judge-requests": 64,
    }


def test_deployments_make_a_good_form(client: SyncPrefectClient) -> None:
    """Every parameter says what it is, and the families are a list to choose from."""
    parents = client.read_deployment_by_name("expo/all-models")
    schema: Any = parents.parameter_openapi_schema
    assert all(parameter.get("description") for parameter in schema["properties"].values())
    assert "zephyr-7b-beta" in json.dumps(schema["definitions"])
    assert parents.work_queue_name == "parents" and parents.tags == ["expo"]
    for name, pool in (("expo-family/cpu", "expo"), ("expo-family/gpu", "expo-gpu")):
        assert client.read_deployment_by_name(name).work_pool_name == pool
    nightly = client.read_deployment_by_name("expo-nightly/nightly")
    (schedule,) = nightly.schedules
    assert not schedule.active and getattr(schedule.schedule, "timezone", "") == "Europe/Berlin"
    assert nightly.global_concurrency_limit and nightly.global_concurrency_limit.limit == 1
    options = nightly.concurrency_options
    assert options and options.collision_strategy.value == "CANCEL_NEW"


def test_automations(client: SyncPrefectClient) -> None:
    found = {automation.name: automation for automation in client.read_automations()}
    assert set(found) == {"expo: zombies", "expo: failures", "expo: nightly", "expo: budget"}
    zombies = found["expo: zombies"]
    assert [action.type for action in zombies.actions] == ["change-flow-run-state"]
    assert isinstance(zombies.trigger, EventTrigger) and SUSPENDED in zombies.trigger.expect


def test_a_second_time_changes_nothing(server: str, client: SyncPrefectClient) -> None:
    def ids() -> set[str]:
        automations = {str(automation.id) for automation in client.read_automations()}
        return automations | {str(deployment.id) for deployment in client.read_deployments()}

    before = ids()
    again = bootstrap(server, "--gpus", "64")
    assert ids() == before
    made = [line for line in again.splitlines() if line.startswith(("work ", "limit ", "automation "))]
    assert made == ["limit expo-gpus: 64, was 8"]
    kept = module.bootstrap("process", dict.fromkeys(module.LIMITS), None)
    assert kept == [], "what an operator has set stays"


def test_a_server_that_has_locked_itself_up_is_not_waited_for(
    server: str, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = module._automations

    def locked_up(client: SyncPrefectClient, notify: str | None) -> list[str]:
        for process in server_at(server).processes():
            process.suspend()
        return make(client, notify)

    monkeypatch.setattr(module, "_automations", locked_up)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)
    try:
        with pytest.raises(
            RetryableError, match=rf"{module.LOCKED_UP}: nothing for .* kill -9, start it, and"
        ):
            module.bootstrap("process", dict.fromkeys(module.LIMITS), None)
    finally:
        for process in server_at(server).processes():
            process.resume()


def test_a_block_that_is_not_there_is_named(server: str, said: str) -> None:
    with pytest.raises(AssertionError, match="--notify slack-webhook/nobody: no such block"):
        bootstrap(server, "--notify", "slack-webhook/nobody")
