"""The layout's rules over the real import graph: function-level and TYPE_CHECKING imports count.

flows → stages (tasks/*.py) → packages (tasks/<package>/) → tasks/core, without circles.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PREFECT = ("prefect", "prefect_dask", "prefect_docker", "prefect_kubernetes", "prefect_redis")


class Import(NamedTuple):
    """One imported module, or name of a module; `renamed` is what follows `as`."""

    importer: str
    imported: str
    name: str
    renamed: str | None


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _sources() -> dict[str, ast.Module]:
    paths = (path for top in ("flows", "tasks") for path in (ROOT / top).rglob("*.py"))
    return {_module(path): ast.parse(path.read_text()) for path in paths}


def _imports(module: str) -> Iterator[Import]:
    for node in ast.walk(_sources()[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, alias.name, alias.asname)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, f"{module}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(module, whole if whole in _sources() else node.module, alias.name, alias.asname)


@cache
def _graph() -> dict[str, frozenset[str]]:
    """Every module of the project with those that it imports."""
    return {
        module: frozenset(found.imported for found in _imports(module) if found.imported in _sources())
        - {module}
        for module in _sources()
    }


@cache
def _stages() -> list[str]:
    return sorted(
        module
        for module in _sources()
        if module.startswith("tasks.") and module.count(".") == 1 and _is_file(module)
    )


def _is_file(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def _floor(module: str) -> int:
    """flows 3, stages 2, packages 1, core 0."""
    top, _, rest = module.partition(".")
    if top == "flows":
        return 3
    if not rest or rest.startswith("core"):
        return 0
    return 2 if module in _stages() else 1


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_every_file_in_tasks_is_one_stage_and_bears_its_name() -> None:
    found = set()
    for module in _stages():
        tasks = [
            node.name
            for node in _sources()[module].body
            if isinstance(node, ast.FunctionDef)
            and any(
                isinstance(by, ast.Call) and ast.unparse(by.func) == "stage" for by in node.decorator_list
            )
        ]
        if tasks != [module.removeprefix("tasks.")]:
            found.add(module)
    assert not found


def test_only_runtime_stages_and_flows_know_prefect() -> None:
    allowed = {
        *_stages(),
        *(module for module in _sources() if module.startswith(("flows", "tasks.runtime"))),
    }
    found = {
        used.importer
        for module in _sources()
        for used in _imports(module)
        if used.imported.partition(".")[0] in PREFECT and used.importer not in allowed
    }
    assert not found


def test_packages_do_not_know_the_runtime() -> None:
    """What a package imports of tasks/runtime would bring Prefect in by the back door."""
    found = {
        (module, imported)
        for module, imports in _graph().items()
        for imported in imports
        if imported.startswith("tasks.runtime")
        and _floor(module) < 2
        and not module.startswith("tasks.runtime")
    }
    assert not found


def test_imports_go_down() -> None:
    found = {
        (module, imported)
        for module, imports in _graph().items()
        for imported in imports
        if _floor(imported) > _floor(module)
    }
    assert not found


def test_no_circle_of_modules() -> None:
    try:
        tuple(TopologicalSorter(_graph()).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_circle_of_packages() -> None:
    packages: dict[str, set[str]] = {}
    for module, imports in _graph().items():
        for imported in imports:
            if _floor(module) == 1 and _floor(imported) == 1:
                packages.setdefault(_package(module), set()).add(_package(imported))
    try:
        tuple(TopologicalSorter({name: used - {name} for name, used in packages.items()}).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_nobody_has_to_rename_what_it_imports() -> None:
    """Except where the importer itself has something of that name, as a command has that calls a function."""
    found = {
        (used.importer, f"{used.imported} as {used.renamed}")
        for module in _sources()
        for used in _imports(module)
        if used.renamed and used.imported in _sources() and used.name not in _bound(module)
    }
    assert not found


@cache
def _bound(module: str) -> frozenset[str]:
    """Names of functions, parameters and constants that a module defines."""
    nodes = list(ast.walk(_sources()[module]))
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return frozenset(functions | parameters | assigned)
