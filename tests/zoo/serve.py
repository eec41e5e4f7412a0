"""The zoo under its real hub ids, on a Hub emulator of this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.families import find_family
from tests.servers.hub import HubServer
from tests.zoo.tiny_families import SPECS
from tests.zoo.write import checkpoints_of

__all__ = ["TOKEN", "put_into", "serve_zoo"]

TOKEN = "hf_of_someone_with_licenses"


def put_into(hub: HubServer, names: tuple[str, ...] = tuple(SPECS)) -> None:
    """Adds the pairs of these families to a Hub; what is gated is granted to TOKEN alone."""
    for name in names:
        gated = find_family(name).gated
        for hub_id, files in checkpoints_of(name).items():
            hub.add(hub_id, files, gated=hub_id in gated)
            hub.repos[hub_id].granted.add(TOKEN)


@contextmanager
def serve_zoo(names: tuple[str, ...] = tuple(SPECS), port: int = 0) -> Iterator[HubServer]:
    """A Hub with these families, until the block ends.

    For a process of its own: `os.environ | hub.environment(cache, TOKEN)`, where `cache` is a
    folder; for this process: `tests.servers.hub.use_in_this_process`.
    """
    with HubServer(port=port) as hub:
        put_into(hub, names)
        yield hub
