"""`import expo_flows`: the library under the name of its distribution; see `flows.library`."""

from flows.library import *  # noqa: F403
from flows.library import __all__  # noqa: F401
