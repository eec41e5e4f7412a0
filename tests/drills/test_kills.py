"""Drill 2: kill -9 to one part of a run at a time. Each run ends, by itself or by `prefect flow-run retry`,
with the bytes and the figures of the undisturbed one."""

from collections.abc import Callable

import psutil  # type: ignore[import-untyped]
import pytest

from tests.drills.conftest import Fault
from tests.drills.play import Play
from tests.servers.processes import descendants, kill

pytestmark = [pytest.mark.slow, pytest.mark.drill]


def _flow(play: Play) -> None:
    play.answering()
    for process in play.flow():
        kill(process)


def _worker(play: Play) -> None:
    """The flow goes on without it, or is ended by it; the next worker takes what is left."""
    play.answering()
    kill(psutil.Process(play.worker.pid))
    play.worker.wait()
    play.worker = play.stage.worker(play.name)


def _node(play: Play) -> None:
    """All at once, as when the power goes; heartbeats end, and the automation notices."""
    play.answering()
    for process in [psutil.Process(play.worker.pid), *descendants(play.worker.pid)]:
        kill(process)
    play.worker.wait()
    play.worker = play.stage.worker(play.name)


def _engine(play: Play) -> None:
    play.answering()
    for process in play.engines():
        kill(process)


@pytest.mark.parametrize("fault", [_engine, _flow, _worker, _node])
def test_same_bytes_and_figures(fault: Fault, require_the_same: Callable[[str, Fault], None]) -> None:
    require_the_same(fault.__name__.strip("_"), fault)
