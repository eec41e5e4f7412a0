"""`import expo_flows`: the library under the name of its distribution; see `flows.library.surface`."""

from flows.library.surface import *  # noqa: F403
from flows.library.surface import __all__  # noqa: F401
