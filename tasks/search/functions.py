"""A Python function as the objective of a search.

A function is named as an entry point is, `package.module:function`, or by its name in the group
`expo.objectives`. It takes prompts and answers, two lists of texts, and returns a number for
each: higher is better.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points

from tasks.benchmarks.budget import Usage
from tasks.core.errors import InputError
from tasks.search.scoring import Answered

__all__ = ["FunctionObjective", "load_function"]

GROUP = "expo.objectives"

Function = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


class FunctionObjective:
    """Scores by a Python function."""

    def __init__(self, name: str) -> None:
        self._name, self._function = name, load_function(name)

    def scores(self, alpha: float, answered: Answered) -> list[float]:  # noqa: ARG002 - the protocol's
        """See `Objective`.

        Raises:
            InputError: the function returned another number of scores, or something else.
        """
        found = self._function(answered.prompts, answered.candidate)
        try:
            scores = [float(score) for score in found]
        except (TypeError, ValueError) as error:
            raise InputError(f"objective {self._name}: it returned no list of numbers: {error}") from error
        if len(scores) != len(answered.prompts):
            raise InputError(
                f"objective {self._name}: {len(scores)} scores for {len(answered.prompts)} answers"
            )
        return scores

    def usage(self) -> Usage:
        """Nothing."""
        return Usage()


def load_function(name: str) -> Function:
    """The function of an entry point's name, or of `package.module:function`.

    Raises:
        InputError: there is none.
    """
    registered = {point.name: point.value for point in entry_points(group=GROUP)}
    module, _, attribute = registered.get(name, name).partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(sorted(registered)) or "none"
        raise InputError(
            f"objective {name!r}: no such function ({error}); write package.module:function, or the name of "
            f"an entry point in the group {GROUP} (there are: {known})"
        ) from error
    if not callable(function):
        raise InputError(f"objective {name!r}: {module}:{attribute} is no function")
    loaded: Function = function
    return loaded
