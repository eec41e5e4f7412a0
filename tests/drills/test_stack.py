"""What docker/compose.yaml runs, without containers: its commands and settings as processes, on a real
PostgreSQL and a real Redis. Only hosts, ports and the password are this machine's.

A server without services, the services apart, an event that reaches an automation across Redis, task
records that are all there, a limit that is given back: each needs one of the settings to be right.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.concurrency.sync import concurrency
from prefect.events import AutomationCore, Event, EventTrigger, Posture, Resource
from prefect.events.actions import ChangeFlowRunState
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.images.files import compose
from tests.parts import lacks
from tests.servers.ports import reserve
from tests.servers.postgres import programs, serve_postgres
from tests.servers.prefect import end
from tests.servers.redis import redis_program, serve_redis
from tests.waiting import LIMIT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

TASKS = 20
AUTH = "expo:a password of this test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the API, with the services beside it."""
    if programs() is None:
        lacks("postgres", "no PostgreSQL is installed: apt-get install postgresql")
    if redis_program() is None:
        lacks("redis", "no Redis is installed: apt-get install redis-server")
    home = tmp_path_factory.mktemp("stack")
    services = compose()["services"]
    with ExitStack() as stack:
        database = urlsplit(stack.enter_context(serve_postgres()))
        redis = stack.enter_context(serve_redis(home / "redis", *services["redis"]["command"][1:]))
        port = reserve()
        environment = {
            **_settings(services["server"]["environment"]),
            "PREFECT_SERVER_API_AUTH_STRING": AUTH,
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(database.port),
            "PREFECT_SERVER_DATABASE_NAME": database.path.strip("/"),
            "PREFECT_SERVER_DATABASE_PASSWORD": "trusted",
            "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
            "PREFECT_REDIS_MESSAGING_PORT": str(redis),
            "PREFECT_SERVER_DOCKET_URL": f"redis://127.0.0.1:{redis}/1",
            "PREFECT_HOME": str(home),
            "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        }
        here = {"0.0.0.0": "127.0.0.1", "4200": str(port)}
        migrate = _begin(services["migrate"]["command"], here, environment, home / "migrate.log")
        assert migrate.wait(timeout=LIMIT) == 0, (home / "migrate.log").read_text()
        for name in ("server", "services"):
            process = _begin(services[name]["command"], here, environment, home / f"{name}.log")
            stack.callback(end, process)
        url = f"http://127.0.0.1:{port}/api"
        wait_until(lambda: _answers(f"{url}/health"), "the answer of the server (server.log)")
        yield url


@pytest.fixture
def client(server: str) -> Iterator[SyncPrefectClient]:
    settings = {PREFECT_API_URL: server, PREFECT_API_AUTH_STRING: AUTH}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


def test_flow_run_leaves_every_record(client: SyncPrefectClient) -> None:
    """Task records travel through Redis to the services, which write them."""

    @task
    def one(number: int) -> int:
        return number

    @flow
    def many() -> list[int]:
        return [future.result() for future in [one.submit(number) for number in range(TASKS)]]

    state = many(return_state=True)
    assert state.is_completed() and state.state_details.flow_run_id
    run = state.state_details.flow_run_id
    wait_until(lambda: len(_completed_tasks(client, run)) == TASKS, "the task records")


def test_event_reaches_an_automation(client: SyncPrefectClient) -> None:
    """An event goes in at the API and through Redis, and the services act upon it with the server's
    password: here they crash a run, as the project's automation does to a run without heartbeats."""

    @flow
    def idle() -> None:
        pass

    name = f"expo-stack-{uuid4()}"
    run = client.create_flow_run(idle).id
    crash = ChangeFlowRunState(state=StateType.CRASHED, name=None, message=name, force=False)
    trigger = EventTrigger(expect={name}, posture=Posture.Reactive, threshold=1)
    client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[crash]))

    def acted() -> bool:
        event = Event(event=name, resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run}"}))
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
        state = client.read_flow_run(run).state
        return state is not None and state.is_crashed()

    wait_until(acted, "the automation acts", every=5)


def test_slots_of_a_limit_are_leases_in_redis(client: SyncPrefectClient) -> None:
    name = f"expo-stack-{uuid4()}"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    with concurrency(name, lease_duration=60):
        assert client.read_global_concurrency_limit_by_name(name).active_slots == 1
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 0


def test_ui_is_served(server: str) -> None:
    with urlopen(server.removesuffix("/api"), timeout=30) as answer:
        assert b"Prefect" in answer.read()


def _settings(environment: dict[str, str]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items() if name != "PREFECT_UI_API_URL"}


def _begin(
    command: list[str], here: dict[str, str], environment: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    words = [here.get(word, word) for word in command]
    assert words[0] == "prefect"
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *words], env=os.environ | environment, stdout=output, stderr=output
        )


def _completed_tasks(client: SyncPrefectClient, run: UUID) -> list[str]:
    found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return [run.name for run in found if run.state and run.state.is_completed()]


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
