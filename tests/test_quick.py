"""What `make check` runs: by what a module imports, not by a list."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.quick import is_quick, refuse_python

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "module",
    [
        "core/test_families.py",
        "docs/test_commands.py",
        "reports/test_text.py",
        "stats/test_decision.py",
        "stats/test_paired.py",
        "test_architecture.py",
        "weights/test_compiled.py",
        "weights/test_formula.py",
        "weights/test_planner.py",
        "weights/test_vocabulary.py",
    ],
)
def test_what_decides_about_weights_and_verdicts_is_quick(module: str) -> None:
    assert is_quick(HERE / module)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("generation/test_engine.py", "it starts processes"),
        ("generation/test_endpoint.py", "its server is one of tests/servers"),
        ("flows/test_expo.py", "it imports Prefect"),
        ("search/test_search_alpha.py", "the stage that it tests imports Prefect"),
        ("weights/test_golden.py", "a module that it imports has transformers in a function"),
    ],
)
def test_what_needs_more_is_not(module: str, why: str) -> None:
    assert not is_quick(HERE / module), why


def test_a_python_that_is_started_all_the_same_is_an_error() -> None:
    with pytest.raises(AssertionError, match="mark it `slow`"):
        refuse_python("subprocess.Popen", (sys.executable, [sys.executable], None, None))
    with pytest.raises(AssertionError, match="mark it `slow`"):
        refuse_python("os.fork", ())
    refuse_python("subprocess.Popen", ("fc-list", ["fc-list"], None, None))


def test_only_quick_tests_are_collected() -> None:
    """Of a folder; a file that is named is looked into all the same."""
    places = ["tests/publishing", "tests/weights/test_vocabulary.py"]
    command = [sys.executable, "-m", "pytest", "--quick", "--co", "-q", *places]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    found = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert found == {"tests/publishing/test_model_card.py", "tests/weights/test_vocabulary.py"}, done.stdout
    assert "test_rows_follow_their_tokens" not in done.stdout, "it is marked slow"
