"""Variables and commands of the containers: each is one that somebody reads, or can run."""

import importlib.util
import re
import subprocess

import pytest
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES  # type: ignore[import-untyped]

from tests.images.files import DOCKER, ROOT, commands, compose, environment, manifests

# what botocore reads outside of that table
AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
OTHERS = {
    "PATH",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PYTHONUNBUFFERED",
    "UV_PYTHON_INSTALL_DIR",
    "DO_NOT_TRACK",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
}
# compose refuses to start where it is unset or empty, and says the words behind the question mark
MUST_BE_GIVEN = re.compile(r"\$\{(\w+):\?[^}]+docker/\.env\}")


def test_every_variable_is_read_by_somebody() -> None:
    read = {*_read_by_us(), *_read_by_prefect(), *_read_by_botocore(), *OTHERS}
    unread = {(where, name) for where, name, _ in environment() if name not in read}
    assert not unread


def test_compose_names_the_settings_that_the_code_has() -> None:
    """The other side: a worker that lacks one of these does not work."""
    given = {name for where, name, _ in environment() if where.startswith(("compose worker", "worker.env"))}
    assert {"EXPO_STORE", "HF_TOKEN", "OPENAI_API_KEY", "PREFECT_API_URL"} <= given


def test_prefect_takes_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are validated models: a wrong value is an error when they are made."""
    from prefect.settings import Settings

    for where, name, value in environment():
        if where == "compose server" or where.startswith("configmap"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.server.database.host == "postgres" and not settings.server.database.migrate_on_start
    assert settings.server.events.messaging_broker == "prefect_redis.messaging"
    assert settings.server.services.db_vacuum.enabled == {"events", "flow_runs"}


def test_kubernetes_server_has_the_settings_of_compose() -> None:
    """Where they differ it is by what the Secret says: hosts and passwords."""
    in_compose = {(name, value) for where, name, value in environment() if where == "compose server"}
    in_cluster = {(name, value) for where, name, value in environment() if where.startswith("configmap")}
    assert in_cluster <= in_compose
    assert {name for name, _ in in_compose - in_cluster} == {
        "PREFECT_SERVER_DATABASE_HOST",
        "PREFECT_REDIS_MESSAGING_HOST",
        "PREFECT_SERVER_DOCKET_URL",
        "PREFECT_UI_API_URL",
        "PREFECT_SERVER_API_AUTH_STRING",
    }


@pytest.mark.parametrize(("where", "command"), list(commands()), ids=str)
def test_command_is_one_that_exists(where: str, command: list[str]) -> None:
    program, *words = command
    if program == "prefect":
        from prefect.cli._app import _app  # the public `app` runs what it parses

        _app.parse_args(words, exit_on_error=False, print_error=False)
    elif program == "dask":
        cli = importlib.import_module(f"distributed.cli.dask_{words[0]}")
        cli.main.make_context(words[0], words[1:])
    elif program == "python":
        assert words[0] == "-m" and importlib.util.find_spec(words[1]), words
    else:
        assert (DOCKER / program).exists(), program


def test_secrets_are_named_never_said() -> None:
    """A value that only a file or a Secret may hold is in no file of the project."""
    secret = re.compile(r"PASSWORD|TOKEN|API_KEY|SECRET_ACCESS_KEY|AUTH_STRING$")
    said = {
        (where, name)
        for where, name, value in environment()
        if secret.search(name) and value and not MUST_BE_GIVEN.fullmatch(value)
    }
    assert said == {
        ("server.env.example", "POSTGRES_PASSWORD"),
        ("server.env.example", "PREFECT_SERVER_DATABASE_PASSWORD"),
        ("s3.env.example", "AWS_SECRET_ACCESS_KEY"),
    }
    assert all("change-me" in value for _, name, value in environment() if (_, name) in said)
    files = {file for service in compose()["services"].values() for file in service.get("env_file", ())}
    for name in files:
        ignored = subprocess.run(["git", "check-ignore", "-q", f"docker/{name}"], cwd=ROOT)
        assert (DOCKER / f"{name}.example").exists() and ignored.returncode == 0, name
    assert not [manifest for manifest in manifests() if manifest["kind"] == "Secret"]


def test_nothing_of_compose_answers_without_a_password() -> None:
    given = {(where, name): value for where, name, value in environment() if where.startswith("compose ")}
    for service in ("server", "services", "migrate"):
        assert MUST_BE_GIVEN.fullmatch(given[f"compose {service}", "PREFECT_SERVER_API_AUTH_STRING"])
    for service in ("bootstrap", "worker-cpu", "worker-gpu"):
        assert MUST_BE_GIVEN.fullmatch(given[f"compose {service}", "PREFECT_API_AUTH_STRING"])
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:4200:4200"]
    assert subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=ROOT).returncode == 0


def test_only_its_own_pods_reach_dask() -> None:
    (policy,) = (manifest for manifest in manifests() if manifest["kind"] == "NetworkPolicy")
    (held,) = policy["spec"]["podSelector"]["matchExpressions"]
    pods = {
        manifest["spec"]["template"]["metadata"]["labels"]["app"]
        for manifest in manifests()
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"].startswith("dask")
    }
    assert set(held["values"]) == pods and policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    (source,) = rule["from"]
    assert set(source) == {"podSelector"}  # of this namespace
    assert set(source["podSelector"]["matchExpressions"][0]["values"]) == {*pods, "expo-run"}


def _read_by_us() -> set[str]:
    files = [
        *(ROOT / "flows").rglob("*.py"),
        *(ROOT / "tasks").rglob("*.py"),
        *(ROOT / "deployments").glob("*"),
    ]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    return set(re.findall(r"\b(?:EXPO_\w+|HF_TOKEN|OPENAI_API_KEY)\b", text))


def _read_by_prefect() -> set[str]:
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields
    from prefect_kubernetes.settings import (
        KubernetesObserverSettings,
        KubernetesSettings,
        KubernetesWorkerSettings,
    )
    from prefect_redis.client import RedisMessagingSettings

    models = (
        RedisMessagingSettings,
        KubernetesSettings,
        KubernetesWorkerSettings,
        KubernetesObserverSettings,
    )
    return set(_get_settings_fields(Settings)) | {
        f"{model.model_config['env_prefix']}{field}".upper()
        for model in models
        for field in model.model_fields
    }


def _read_by_botocore() -> set[str]:
    return AWS | {
        name
        for variables in BOTOCORE_DEFAUT_SESSION_VARIABLES.values()
        if isinstance(name := variables[1], str)
    }
