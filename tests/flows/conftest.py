"""The demo family, trained once for all tests of the flows, and a server for those of this process."""

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def demo_pair(own_environment: object) -> None:
    """Trains the demo's pair into the session's cache: about half a minute."""
    from tasks.demo.checkpoints import prepare

    prepare()


@pytest.fixture(scope="module")
def prefect(own_environment: object) -> Iterator[None]:
    """A temporary server that the flows of this process report to."""
    with prefect_test_harness(server_startup_timeout=600):
        yield
