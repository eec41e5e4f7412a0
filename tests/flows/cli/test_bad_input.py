"""Input that cannot be: one clear line, and status 2."""

import pytest

from tests.flows.cli.command import Command

IMPORTS_PREFECT = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "zephyr"], "no family 'zephyr'"),
        (["check"], "give a family's name"),
        (["check", "demo", "--sft", "x"], "not both"),
        (["check", "--sft", "/nowhere", "--aligned", "/nowhere"], "/nowhere: no such folder"),
        pytest.param(["run", "nobody"], "no family 'nobody'", marks=IMPORTS_PREFECT),
        pytest.param(["run", "zephyr-7b-beta"], "no judge; give one", marks=IMPORTS_PREFECT),
        (["report", "--store", "/nowhere"], "no report"),
        (["check", "demo", "--alpha", "nan"], "a finite number"),
        (["extrapolate", "--sft", "a"], "Missing option"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(expo: Command, arguments: list[str], message: str) -> None:
    done = expo(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
