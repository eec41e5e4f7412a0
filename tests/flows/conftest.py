"""The demo family, trained once for all tests of the flows."""

import pytest


@pytest.fixture(scope="session")
def demo_pair(own_environment: object) -> None:
    """Trains the demo's pair into the session's cache: about half a minute."""
    from tasks.demo.checkpoints import prepare

    prepare()
