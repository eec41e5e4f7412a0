"""Options that several commands share: a command takes the value, the command line has its options."""

from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from typing import Any

__all__ = ["with_options"]

Command = Callable[..., None]


def with_options(
    parameter: str, make: Callable[..., Any], only: Collection[str] | None = None
) -> Callable[[Command], Command]:
    """A command whose `parameter` is what `make` gives for the options that are its parameters.

    The options stand where the parameter stood.

    Args:
        parameter: of the command.
        make: its parameters are typer's options, each with a default.
        only: names of the parameters that the command line gets; None: all.
    """
    options = {
        name: option for name, option in signature(make).parameters.items() if only is None or name in only
    }

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_made(**values: Any) -> None:  # noqa: ANN401 - whatever the command takes
            made = make(**{name: values.pop(name) for name in options})
            command(**values, **{parameter: made})

        own = signature(command)
        parameters = [
            shown
            for name, given in own.parameters.items()
            for shown in (options.values() if name == parameter else [given])
        ]
        # typer reads both
        with_made.__dict__["__signature__"] = own.replace(parameters=parameters, return_annotation=None)
        with_made.__annotations__ = {shown.name: shown.annotation for shown in parameters}
        return with_made

    return decorate
