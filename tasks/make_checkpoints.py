"""Stage make_checkpoints: a family's checkpoints, where its provider makes them, as the demo's."""

from tasks.core.families import Family
from tasks.core.providers import unmade
from tasks.runtime.stage import stage

__all__ = ["make_checkpoints"]


@stage("make the checkpoints of {family.name}")
def make_checkpoints(family: Family) -> None:
    """Has the provider make what is not there yet; the stages that follow find it.

    Raises:
        InputError: the provider does not know a uri of the registry's entry.
    """
    for uri, provider in unmade(family):
        provider.find(uri)
