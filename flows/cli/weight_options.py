"""The options about weights that several commands take, and what turns them into values."""

import math
import re
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.core.errors import InputError
from tasks.weights.memory import parse_bytes
from tasks.weights.options import Extra, OutputDtype, Vocabulary

if TYPE_CHECKING:
    from tasks.weights.recipe import ModuleAlpha

__all__ = [
    "ALIGNED",
    "ALLOW",
    "ALPHA",
    "DEQUANTIZE",
    "DTYPE",
    "EXTRA",
    "FROM_SEARCH",
    "MERGE",
    "SFT",
    "STREAM",
    "VOCABULARY",
    "check_alpha",
    "check_alphas",
    "check_bytes",
    "parse_module_alpha",
]

FROM_SEARCH = "from-search"
LARGEST_ALPHA = 3.4e38
MODULE_ALPHA = re.compile(r"(?P<pattern>.*?)(@(?P<first>\d+)-(?P<last>\d+))?=(?P<alpha>[^=]+)")


def check_alpha(value: float | None) -> float | None:
    """An α as it is given; refuses NaN, Inf and what is beyond fp32."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"α is a finite number, not {value}")
    if value is not None and abs(value) > LARGEST_ALPHA:
        raise typer.BadParameter(f"α = {value:g} is beyond what fp32 arithmetic has")
    return value


def check_alphas(values: list[str]) -> list[str]:
    """The values of --alpha as they are given; refuses what is neither a finite number nor `from-search`."""
    for value in values:
        if value != FROM_SEARCH:
            try:
                check_alpha(float(value))
            except ValueError:
                raise typer.BadParameter(f"{value!r} is no number; give α, or {FROM_SEARCH}") from None
    return values


def check_bytes(value: str | None) -> str | None:
    """A size as it is given; refuses what is none."""
    if value is not None and not parse_bytes(value):
        raise typer.BadParameter(f"{value!r} is no size; write 5GB or 500MB")
    return value


ALPHA = Annotated[float | None, typer.Option(help="α; default: the family's.", callback=check_alpha)]
SFT = Annotated[
    str | None, typer.Option(help="The SFT checkpoint θ_0: a folder, hub id[@revision] or s3://….")
]
ALIGNED = Annotated[str | None, typer.Option(help="The aligned checkpoint θ_1: a folder, hub id or s3://….")]
STREAM = Annotated[
    bool,
    typer.Option(
        "--stream", help="Read weights by ranges, without a file on disk; see the manifest's checks."
    ),
]
MERGE = Annotated[
    bool,
    typer.Option("--merge", help="Of an adapter: write the whole model, not the adapter at another scale."),
]
VOCABULARY = Annotated[
    Vocabulary,
    typer.Option(
        help="Rows of other tokens: refuse, pair those of equal tokens, or pair them as they stand."
    ),
]
DTYPE = Annotated[OutputDtype | None, typer.Option(help="Of the output; default: the aligned checkpoint's.")]
EXTRA = Annotated[
    Extra,
    typer.Option(help="Parameters of one side alone: refuse, or copy the aligned side's and drop the SFT's."),
]
ALLOW = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD", help="A field of config.json that may differ, as rope_theta; repeatable."),
]
DEQUANTIZE = Annotated[
    bool, typer.Option("--dequantize", help="fp8 weights with known scales: multiply them; written is bf16.")
]


def parse_module_alpha(text: str) -> "ModuleAlpha":
    """An entry of a recipe's module alphas, from MODULE[@FIRST-LAST]=NUMBER.

    Raises:
        InputError: it is not of this form, or its pattern is no regular expression.
    """
    from tasks.weights.recipe import ModuleAlpha

    found = MODULE_ALPHA.fullmatch(text)
    try:
        if not found or not (found["pattern"] or found["first"]):
            raise ValueError("neither a module nor layers")
        re.compile(found["pattern"])
        layers = (int(found["first"]), int(found["last"])) if found["first"] else None
        if not math.isfinite(alpha := float(found["alpha"])):
            raise ValueError("α is a finite number")
        if abs(alpha) > LARGEST_ALPHA:
            raise ValueError("α is beyond what fp32 arithmetic has")
        return ModuleAlpha(pattern=found["pattern"], layers=layers, alpha=alpha)
    except (re.error, ValueError) as error:
        raise InputError(
            f"--module-alpha {text!r}: write MODULE=NUMBER or MODULE@FIRST-LAST=NUMBER, as mlp@0-15=0.2"
        ) from error
