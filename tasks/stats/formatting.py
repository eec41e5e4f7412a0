"""How numbers and names are written, alike in the page, the Markdown and the terminal.

Rounding never contradicts a verdict: what is not zero is not written as zero, so a bound keeps its
sign, and a p-value stays on its side of the level. More digits are written where that needs them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from tasks.stats.paired import LEVEL

__all__ = [
    "change",
    "counts",
    "duration",
    "effect",
    "format_distinct",
    "interval",
    "magnitude",
    "moment",
    "p_value",
    "share",
    "signed",
]

NO_SPREAD = 1e-9  # below which a standard error is what rounding left of 0
MOST_DIGITS = 6  # after the point; what needs more is written with an exponent


def signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus: "+0.93", "−0.12"; a small one keeps its sign: "+0.004"."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + magnitude(value, digits)


def magnitude(value: float, digits: int = 2) -> str:
    """Without a sign: "4.12", and as many digits as it takes not to be zero: "0.004", "3e-09"."""
    digits = _digits(value, digits)
    return f"{abs(value):.0e}" if digits > MOST_DIGITS else f"{abs(value):.{digits}f}"


def effect(smallest: float, unit: str = "") -> str:
    """The smallest effect that could have been found, with its unit; none is known without any spread."""
    if smallest < NO_SPREAD:
        return "not available (all differences are equal)"
    return f"{magnitude(smallest)} {unit}".rstrip()


def format_distinct(first: float, second: float) -> tuple[str, str]:
    """Two numbers without signs, with as many digits as it takes to see which is the larger."""
    first, second = abs(first), abs(second)
    digits = 2
    while digits < 17 and first != second and f"{first:.{digits}f}" == f"{second:.{digits}f}":
        digits += 1
    return f"{first:.{digits}f}", f"{second:.{digits}f}"


def interval(lower: float, upper: float) -> str:
    """Both ends with their signs, and alike in digits: "−0.12 to +2.02", "+0.004 to +2.221"."""
    needed = [_digits(end, 2) for end in (lower, upper)]
    digits = max(count for count in (2, *needed) if count <= MOST_DIGITS)
    return f"{signed(lower, digits)} to {signed(upper, digits)}"


def change(before: float, after: float, digits: int = 1) -> str:
    """Original, then + ExPO: "10.2 → 11.1"."""
    return f"{before:.{digits}f} → {after:.{digits}f}"


def counts(numbers: Mapping[str, int]) -> str:
    """Numbers by cause, the largest first: "12 low mass, 3 timeout"; "none" where there are none."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {cause}" for cause, number in ordered) or "none"


def share(value: float) -> str:
    """A share from 0 to 1 as a percentage; a small one is never rounded to nothing."""
    return "<0.1%" if 0 < value < 0.001 else f"{100 * value:.1f}%"


def p_value(p: float) -> str:
    """Three digits, or a bound; next to the level as many as tell on which side it is: "0.0498"."""
    if p < 0.001:
        return "<0.001"
    digits = 3
    while digits < 17 and (float(f"{p:.{digits}f}") < LEVEL) != (p < LEVEL):
        digits += 1
    return f"{p:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds in words: "8.2 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(created: str) -> str:
    """An ISO 8601 time for readers: "2026-11-23 23:41 UTC"."""
    return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _digits(value: float, least: int) -> int:
    """After the point, at least `least`: with these a value that is not zero is not written as zero."""
    digits = least
    while value and digits <= MOST_DIGITS and not float(f"{value:.{digits}f}"):
        digits += 1
    return digits
