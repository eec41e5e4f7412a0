"""What the drills measured goes into one file: $EXPO_DRILLS, or drills.json in the test's folder."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.drills.play import Outcome, Play, run_of_one_family
from tests.drills.stage import Stage, set_up

Record = Callable[..., None]
Fault = Callable[[Play], None]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Adds figures of a drill to the file, and says them."""
    path = Path(os.environ.get("EXPO_DRILLS") or tmp_path_factory.mktemp("record") / "drills.json")

    def add(drill: str, **figures: Any) -> None:  # noqa: ANN401 - any JSON
        with FileLock(f"{path}.lock"):
            kept = json.loads(path.read_text()) if path.exists() else {}
            kept[drill] = figures
            path.write_text(json.dumps(kept, indent=1))
        print(f"\n{drill}: {figures}  ({path})")

    return add


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with set_up(tmp_path_factory.mktemp("drill")) as made:
        yield made


@pytest.fixture(scope="session")
def undisturbed(stage: Stage, record: Record) -> Outcome:
    """What a run leaves that nothing disturbs."""
    outcome = run_of_one_family(stage, "undisturbed")
    record("kill: nothing", **outcome.taken)
    assert any(name.endswith(".safetensors") for name in outcome.files) and len(outcome.files) >= 5
    return outcome


@pytest.fixture
def require_the_same(stage: Stage, undisturbed: Outcome, record: Record) -> Callable[[str, Fault], None]:
    """Disturbs a run, which has to end with the bytes and the figures of the undisturbed one."""

    def require(name: str, fault: Fault) -> None:
        outcome = run_of_one_family(stage, name, fault)
        record(f"kill: {name}", **outcome.taken)
        assert outcome.files == undisturbed.files
        assert outcome.figures == undisturbed.figures

    return require
