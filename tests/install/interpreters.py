"""The Python interpreters of this machine that pyproject.toml allows: on the PATH, and pyenv's."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

__all__ = ["ROOT", "interpreters"]

ROOT = Path(__file__).parents[2]
MINORS = ("3.11", "3.12", "3.13")
VARIABLE = "EXPO_TEST_PYTHONS"


def interpreters() -> dict[str, str]:
    """Minor version → program: this interpreter's alone, or with EXPO_TEST_PYTHONS=all one of each."""
    if os.environ.get(VARIABLE) != "all":
        return {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    allowed = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    found = {}
    for minor in MINORS:
        candidates = [shutil.which(f"python{minor}"), *sorted(_pyenv().glob(f"{minor}.*/bin/python"))]
        program = next((str(path) for path in candidates if path and _works(str(path), minor)), None)
        if program and f"{minor}.0" in allowed:
            found[minor] = program
    return found


def _pyenv() -> Path:
    return Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"


def _works(program: str, minor: str) -> bool:
    """Whether it starts, as this version and with venv: a shim of pyenv may stand for nothing."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        asked = subprocess.run([program, "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:
        return False
    return asked.returncode == 0 and asked.stdout.strip() == minor
