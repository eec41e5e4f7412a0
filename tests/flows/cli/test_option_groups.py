"""Options that commands share: on the command line each by itself, in the command one value."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from flows.cli.option_groups import with_options

SIZE = Annotated[int, typer.Option("--size", min=1, help="In bytes.")]


def make(size: SIZE = 3, word: Annotated[str, typer.Option(help="Any.")] = "x") -> str:
    """A text of so many words."""
    return word * size


def app(**settings: tuple[str, ...]) -> typer.Typer:
    """A command with an argument, the options of `make` and one of its own."""

    @with_options("text", make, **settings)
    def command(first: str, text: str = "", last: bool = False) -> None:
        print(first, text, last)

    made = typer.Typer()
    made.command()(command)
    return made


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["a"], "a xxx False"),
        (["a", "--size", "2", "--word", "yz", "--last"], "a yzyz True"),
    ],
)
def test_the_command_gets_what_is_made_of_the_options(arguments: list[str], printed: str) -> None:
    done = CliRunner().invoke(app(), arguments)
    assert (done.exit_code, done.stdout.strip()) == (0, printed)


def test_options_are_checked_and_some_can_be_left_out() -> None:
    assert CliRunner().invoke(app(), ["a", "--size", "0"]).exit_code == 2
    few = app(only=("word",))
    assert CliRunner().invoke(few, ["a", "--word", "q"]).stdout.strip() == "a qqq False"
    assert CliRunner().invoke(few, ["a", "--size", "2"]).exit_code == 2
