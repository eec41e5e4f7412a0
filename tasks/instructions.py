"""Stage instructions: the questions, with the reference outputs that answers are judged against."""

from tasks.comparison.instructions import Instructions, find_instructions
from tasks.runtime.stage import stage

__all__ = ["instructions"]


@stage("instructions {uri}")
def instructions(uri: str) -> Instructions:
    """Finds the instructions, downloading them if need be; raises as `find_instructions`."""
    return find_instructions(uri)
