"""The `expo` command, run in this process for the sake of time; `test_main.py` runs it in one of its own."""

import sys
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.flows.cli.command import Command, Done


@pytest.fixture
def expo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command to its end."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["expo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    return run
