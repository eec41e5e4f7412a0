"""The environment of every test: no account, no server and no cache of the user who runs it."""

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.servers.prefect import TEMPLATE

pytest_plugins = ["tests.parts", "tests.properties", "tests.quick", "tests.servers.fixtures"]

ACCOUNTS = (
    "AWS_",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_",
    "PREFECT_",
    "EXPO_STORE",
    "EXPO_ENGINE",
    "EXPO_FAMILIES",
    "EXPO_DASK",
    "EXPO_ENDPOINT_KEYS",
    "EXPO_ALLOWED_ROOTS",
    "EXPO_TRUSTED_JUDGES",
    "EXPO_SEARCH_FUNCTIONS",
)


LONGEST = [Path(__file__).parent / f"drills/test_{name}.py" for name in ("kills", "outages", "fourteen")]
"""Half of the drills' time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the modules with slow tests first: workers that take modules end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in LONGEST, item.path not in slow))


# pytest's workers take all cores: more threads of OpenMP would burn time waiting for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

ENGINE = "EXPO_TEST_ENGINE_PYTHON"
"""Names the interpreter that has vLLM, where that of the tests has none: `make newest`."""


@pytest.fixture(autouse=True, scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Path]:
    """Gives the session a cache and a Prefect home of its own, and takes the user's accounts away."""
    assert pytestconfig.cache
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(ACCOUNTS):
            del os.environ[name]
    home = tmp_path_factory.mktemp("home")
    _share_demo(_common(tmp_path_factory), home / "cache")
    os.environ |= {
        "EXPO_CACHE": str(home / "cache"),
        # compiled once, or every session and test with a cache of its own would wait for it
        "EXPO_COMPILED": str(pytestconfig.cache.mkdir("compiled")),
        "PREFECT_HOME": str(home / "prefect"),
        TEMPLATE: str(pytestconfig.cache.mkdir(f"prefect-{version('prefect')}")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # tests call stages outside of flows
        "DO_NOT_TRACK": "1",
    }
    if engine := os.environ.get(ENGINE):
        os.environ["EXPO_ENGINE_PYTHON"] = engine
    yield home
    os.environ.clear()
    os.environ.update(before)


def _common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all of pytest's workers share in this session."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _share_demo(common: Path, cache: Path) -> None:
    """All workers train the demo once: they share its folder, which has a lock."""
    (common / "demo").mkdir(exist_ok=True)
    cache.mkdir()
    (cache / "demo").symlink_to(common / "demo")
