"""The guards of a run: which verified benchmarks say what a gain costs, and how much may be lost.

ifeval           3 points may be lost
gsm8k=2          2 points
gsm8k:200        200 of its items, and a wider margin
gsm8k:200=10     200 of its items, and 10 points
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.table import BENCHMARKS
from tasks.core.errors import InputError
from tasks.core.values import Value

__all__ = ["MARGIN", "Guard", "GuardName", "guards_of_run", "parse_guard", "parse_guards"]

MARGIN = 3.0  # points of a whole set
FORM = re.compile(r"(?P<name>[a-z0-9_]+)(:(?P<sample>[1-9][0-9]*))?(=(?P<margin>[0-9]+(\.[0-9]+)?))?")


class Guard(Value):
    """A guard as it was named before the run.

    margin  points that may be lost; None: `MARGIN`, or more where only a sample is asked
    sample  how many of its items are asked; None: all
    """

    name: str
    margin: float | None = Field(default=None, gt=0, lt=100)
    sample: int | None = Field(default=None, ge=20)

    @property
    def uri(self) -> str:
        """Of its questions, as `find_instructions` takes it."""
        return self.name if self.sample is None else f"{self.name}:{self.sample}"

    def margin_of(self, asked: int, total: int) -> float:
        """The margin in points for so many of the benchmark's items.

        Without one of its own a sample's grows with the width of its interval, √(total / asked), to
        the next half point: with 3 points no small sample could ever be shown to be harmless.
        """
        if self.margin is not None:
            return self.margin
        return math.ceil(2 * MARGIN * math.sqrt(total / asked)) / 2


def parse_guard(text: str) -> Guard:
    """Reads a guard, as in `--guard`.

    Raises:
        InputError: it is not of the form, or no benchmark that a rule verifies.
    """
    found = FORM.fullmatch(text)
    if not found:
        raise InputError(f"guard {text!r}: write ifeval, ifeval=3 (points), or gsm8k:200=5 (of 200 items)")
    name = found["name"]
    if name not in BENCHMARKS or find_benchmark(name).judging != "verified":
        verified = [known for known in BENCHMARKS if find_benchmark(known).judging == "verified"]
        raise InputError(
            f"guard {text!r}: no benchmark that a rule verifies; there are {', '.join(verified)}"
        )
    sample, margin = found["sample"], found["margin"]
    if sample and int(sample) < 20:
        raise InputError(f"guard {text!r}: fewer than 20 items show nothing")
    if margin and not 0 < float(margin) < 100:
        raise InputError(f"guard {text!r}: a margin is between 0 and 100 points")
    return Guard(name=name, sample=int(sample) if sample else None, margin=float(margin) if margin else None)


def parse_guards(texts: Sequence[str]) -> tuple[Guard, ...]:
    """Several guards.

    Raises:
        InputError: one is wrong, or stands twice.
    """
    guards = tuple(parse_guard(text) for text in texts)
    names = [guard.name for guard in guards]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"guard {twice}: named twice; give it once")
    return guards


def guards_of_run(texts: Sequence[str], benchmarks: Sequence[str]) -> tuple[Guard, ...]:
    """The guards of a run beside its judged benchmarks.

    Raises:
        InputError: one is wrong, stands twice, is judged as well, or nothing is judged at all.
    """
    guards = parse_guards(texts)
    names = [guard.name for guard in guards]
    if both := next((name for name in names if name in benchmarks), None):
        raise InputError(f"{both}: both a benchmark and a guard; give it as one of them")
    if guards and not benchmarks:
        raise InputError("a guard says what a gain costs: name a benchmark that shows the gain")
    return guards


def _valid(text: str) -> str:
    try:
        parse_guard(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


# A guard as a parameter of a flow.
GuardName = Annotated[str, AfterValidator(_valid)]
