"""A test that passes in one run only is seen."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests import repeat

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def arguments(folder: Path, test: str) -> list[str]:
    """Of `python -m tests.repeat`: two runs of one test, which lies in a folder of its own."""
    file = folder / "test_made.py"
    file.write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    of_pytest = ["-n", "0", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), str(file)]
    return ["--runs", "2", "--folder", str(folder), "--", *of_pytest]


def test_equal_runs(tmp_path: Path) -> None:
    """The second is among processes that keep every core busy."""
    test = "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n"
    command = [sys.executable, "-m", "tests.repeat", *arguments(tmp_path, test)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed, 1 skipped; exit status 0") == 2


def test_a_flaky_test_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"from pathlib import Path\ndef test_a():\n    Path({str(tmp_path / 'seen')!r}).mkdir()\n"
    monkeypatch.setattr(repeat, "_busy", nullcontext)
    monkeypatch.setattr(sys, "argv", ["tests.repeat", *arguments(tmp_path, code)])
    with pytest.raises(SystemExit, match="1"):
        repeat.main()
    assert "test_a: passed, failed" in capsys.readouterr().out
