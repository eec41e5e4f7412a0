"""A test that passes in one run only is seen."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def repeat(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    file = folder / "test_made.py"
    file.write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    arguments = ["-n", "0", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), str(file)]
    command = [sys.executable, "-m", "tests.repeat", "--runs", "2", "--folder", str(folder), "--"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_equal_runs(tmp_path: Path) -> None:
    done = repeat(tmp_path, "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed, 1 skipped; exit status 0") == 2


@pytest.mark.slow
def test_a_flaky_test_is_named(tmp_path: Path) -> None:
    marker = tmp_path / "seen"
    code = f"from pathlib import Path\ndef test_a():\n    Path({str(marker)!r}).mkdir()\n"
    done = repeat(tmp_path, code)
    assert done.returncode == 1
    assert "test_a: passed, failed" in done.stdout
