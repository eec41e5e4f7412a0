"""`--quick`: the tests that need nothing but their own process; `make check` runs these.

A test is quick unless it is marked `slow`, uses a fixture of tests/servers, or stands in a module that
imports what starts processes (PROCESSES) or takes seconds to import (HEAVY): itself, or through
modules of this repository. Imports are read, not executed: a module that is not quick is not
imported either, which is most of what the others would cost. A quick test that starts a Python
all the same is an error.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

__all__ = ["is_quick", "refuse_python"]

ROOT = Path(__file__).parents[1]
OWN = ("deployments", "docs", "examples", "flows", "tasks", "tests")
PROCESSES = frozenset({"multiprocessing", "psutil", "subprocess", "tests.servers"})
"""What a module of tests/ has for processes of its own; the code has such imports for others."""
HEAVY = frozenset({"peft", "prefect", "transformers", "vllm"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="only tests that need nothing but their own process"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves modules out before they are imported."""
    is_module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if config.getoption("--quick") and is_module and not is_quick(collection_path):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out the slow tests of quick modules, and those that use a server."""
    if not config.getoption("--quick"):
        return
    left_out = {item for item in items if item.get_closest_marker("slow") or _uses_server(item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True, scope="session")
def no_python_is_started(pytestconfig: pytest.Config) -> None:
    """A quick test that starts a Python fails."""
    if pytestconfig.getoption("--quick"):
        sys.addaudithook(refuse_python)


def refuse_python(event: str, arguments: tuple[object, ...]) -> None:
    """For `sys.addaudithook`: neither forks nor interpreters."""
    if event == "os.fork" or (event == "subprocess.Popen" and str(arguments[0]).startswith(sys.prefix)):
        raise AssertionError("a quick test starts a process: mark it `slow` (tests/quick.py)")


def is_quick(module: Path) -> bool:
    """Whether neither the module nor what it imports of this repository is in need of more."""
    todo, seen = [module], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        imported = _imports(path)
        if imported & HEAVY or (_is_test(path) and imported & PROCESSES):
            return False
        todo += [found for name in imported if (found := _file(name))]
    return True


@cache
def _imports(path: Path) -> frozenset[str]:
    """The modules that a file imports, each with its packages: everywhere in a test, else at its top."""
    tree = ast.parse(path.read_bytes())
    names = set()
    for node in ast.walk(tree) if _is_test(path) else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for whole in names for name in _with_packages(whole))


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@cache
def _file(name: str) -> Path | None:
    """The file of a module of this repository."""
    if name.partition(".")[0] not in OWN:
        return None
    path = ROOT.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _is_test(path: Path) -> bool:
    return path.is_relative_to(ROOT / "tests")


def _uses_server(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(used.func.__module__ == "tests.servers.fixtures" for found in fixtures for used in found)
