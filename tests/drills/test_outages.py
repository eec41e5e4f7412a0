"""Drill 2, the servers: kill -9 to one, which is gone for a minute. The run ends, by itself or by
`prefect flow-run retry`, with the bytes and the figures of the undisturbed one."""

import time
from collections.abc import Callable

import pytest

from tests.drills.conftest import Fault
from tests.drills.play import Play

pytestmark = [pytest.mark.slow, pytest.mark.drill]

OUTAGE = 60.0  # seconds without a server


def _s3(play: Play) -> None:
    play.answering()
    play.stage.s3.kill()
    time.sleep(OUTAGE)
    play.stage.s3.start()


def _server(play: Play) -> None:
    play.answering()
    play.stage.prefect.kill()
    time.sleep(OUTAGE)
    play.stage.prefect.start()


@pytest.mark.parametrize("fault", [_s3, _server])
def test_same_bytes_and_figures(fault: Fault, require_the_same: Callable[[str, Fault], None]) -> None:
    require_the_same(fault.__name__.strip("_"), fault)
