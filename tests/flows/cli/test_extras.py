"""A command whose extra is missing says in one line which one to install."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from flows.cli import extras
from tasks.core.errors import InputError, PermanentError
from tasks.core.families import find_family
from tasks.generation.interpreter import engine_version
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
from flows.cli.main import main
sys.argv = ["expo", *{arguments!r}]
main()
"""


def expo_without(*modules: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs the command where some modules cannot be imported, as in an environment that lacks them."""
    code = HIDDEN.format(modules=modules, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)


def test_module_of_an_extra_names_it(tmp_path: Path) -> None:
    names = ("instruction", "output_1", "generator_1", "output_2", "generator_2", "dataset", "annotator")
    (tmp_path / "a.json").write_text(json.dumps([{**dict.fromkeys(names, "x"), "preference": 1}]))
    done = expo_without("alpaca_eval", arguments=["score", "alpaca_eval", str(tmp_path / "a.json")])
    assert done.returncode == 1
    assert done.stderr == (
        "error: no module 'alpaca_eval': it comes with the extra `run`; pip install 'expo-flows[run]'\n"
    )


def test_signing_without_its_extra_is_said_before_anything_is_made(tmp_path: Path) -> None:
    arguments = ["extrapolate", "--aligned", "a", "--alpha", "1", "--sign", "k", "--out", str(tmp_path / "x")]
    done = expo_without("model_signing", arguments=arguments)
    assert done.returncode == 1
    assert done.stderr == (
        "error: no module 'model_signing': it comes with the extra `sign`; pip install 'expo-flows[sign]'\n"
    )


@pytest.mark.parametrize(("module", "extra"), [("prefect.flows", "run"), ("torch", "cuda"), ("vllm", "cpu")])
def test_explains_a_missing_module(module: str, extra: str) -> None:
    with pytest.raises(PermanentError, match=rf"pip install 'expo-flows\[{extra}\]'"):
        extras.explain_missing(ModuleNotFoundError(name=module))


def test_a_module_of_no_extra_stays_an_error_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError):
        extras.explain_missing(ModuleNotFoundError(name="tasks.nowhere"))


def test_run_names_every_missing_extra_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPO_ENGINE_PYTHON", raising=False)
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name in ("prefect", "vllm", "torch") else find_spec(name)
    )
    with pytest.raises(PermanentError, match=r"expo-flows\[run,demo,cpu\]'; on a machine with GPUs gpu"):
        extras.require_for_run(modules=find_family("demo").provider_needs, engine=True)
    with pytest.raises(PermanentError, match=r"expo-flows\[run\]'$"):
        extras.require_for_run(engine=False)


def test_modules_of_a_family_that_no_extra_brings_are_named() -> None:
    with pytest.raises(PermanentError, match="a run needs no_such_module: install what has them"):
        extras.require_for_run(modules=("json", "no_such_module"), engine=False)
    extras.require_for_run(modules=("json",), engine=False)


def test_engine_of_another_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is asked for its vLLM before the run begins."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 0.33.0\n")
    python.chmod(0o755)
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "vllm" else find_spec(name))
    monkeypatch.setenv("EXPO_ENGINE_PYTHON", str(python))
    extras.require_for_run(engine=True)
    assert engine_version(str(python)) == "0.33.0"
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\n")
    bare.chmod(0o755)
    with pytest.raises(InputError, match=f"{bare}: no vLLM to answer with"):
        engine_version(str(bare))
    with pytest.raises(InputError, match="nowhere: cannot be started"):
        engine_version(os.fspath(tmp_path / "nowhere"))


def test_extras_are_those_of_the_project() -> None:
    """A module is listed under the extra whose requirements bring it."""
    distributions = packages_distributions()
    for module, extra in extras.EXTRA_OF.items():
        wanted = " ".join(PROJECT["optional-dependencies"][extra]).lower().replace("_", "-")
        brought = {name.lower().replace("_", "-") for name in distributions.get(module, [module])}
        assert any(name in wanted for name in brought), f"{module}: not in the extra {extra}"
