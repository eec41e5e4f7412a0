"""What scripts read of the command: JSON, silence on request, suggestions, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from flows.cli.main import app
from tasks.core.families import names
from tasks.weights.verify import Verification
from tests.flows.cli.command import Command
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, ...]:
    _, aligned, sft = pair(tmp_path)
    return ("--sft", str(sft.folder()), "--aligned", str(aligned.folder()))


def test_check_and_verify_print_json(expo: Command, places: tuple[str, ...], tmp_path: Path) -> None:
    checked = json.loads(expo("check", *places, "--alpha", "0.3", "--json").stdout)
    assert (checked["parameters"], checked["shards"], checked["alpha"]) == (7548, 3, 0.3)
    made = expo("--quiet", "extrapolate", *places, "--alpha", "0.3", "--out", tmp_path / "out")
    assert made.returncode == 0 and made.stdout.startswith(f"{tmp_path}/out: 3 shards")
    assert "extrapolating" not in made.stdout + made.stderr
    found = Verification.model_validate_json(expo("verify", tmp_path / "out", "--json").stdout)
    assert found.files == 5 and not found.differences
    shard = next((tmp_path / "out").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    damaged = expo("verify", tmp_path / "out", "--json")
    assert damaged.returncode == 1
    (difference,) = Verification.model_validate_json(damaged.stdout).differences
    assert difference.file == shard.name


def test_every_command_that_prints_figures_has_json() -> None:
    """But those that write a model, whose figures verify has, and those that end in a report."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    without = {name for name, command in group.commands.items() if not _has_json(command)}
    assert without == {"extrapolate", "publish", "run", "demo", "data"}


def _has_json(command: object) -> bool:
    return isinstance(command, TyperCommand) and any("--json" in given.opts for given in command.params)


def test_families_print_json(expo: Command) -> None:
    found = json.loads(expo("families", "--json").stdout)
    assert [family["name"] for family in found] == list(names())
    (one,) = json.loads(expo("families", "zephyr-7b-beta", "--json").stdout)
    assert one["alpha"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["extrapolat"], "Did you mean 'extrapolate'?"),
        (["check", "--alignd", "x"], "--aligned"),
        (["check", "zephyr-7b-bta"], "did you mean zephyr-7b-beta"),
    ],
)
def test_the_nearest_is_suggested(expo: Command, arguments: list[str], suggestion: str) -> None:
    done = expo(*arguments)
    assert done.returncode == 2 and suggestion in " ".join(done.stderr.split())


def test_the_shell_completes_commands() -> None:
    asked = {"_EXPO_COMPLETE": "complete_bash", "COMP_WORDS": "expo extr", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['expo']; from flows.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stdout.split() == ["extrapolate"], done.stderr
