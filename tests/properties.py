"""Profiles of Hypothesis: `ci` tries the same examples on every run, `thorough` others until a time is up.

Every test with `@given` gets the marker `fuzz`. `make fuzz` runs these under `thorough`, each for
EXPO_FUZZ_SECONDS; what it finds becomes an explicit `@example`. No limit depends on the clock:
a busy machine is no reason to fail a property.
"""

import os
import time
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", derandomize=True, print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile("ci")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the properties, before `-m` is applied."""
    for item in items:
        if isinstance(item, pytest.Function) and getattr(item.obj, "is_hypothesis_test", False):
            item.add_marker("fuzz")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Under `thorough`, asks a property for other examples until its time is up."""
    until = time.monotonic() + float(os.environ.get("EXPO_FUZZ_SECONDS", "0"))
    result = yield
    if settings.get_current_profile_name() == "thorough" and pyfuncitem.get_closest_marker("fuzz"):
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        while time.monotonic() < until:
            pyfuncitem.obj(**arguments)
    return result
