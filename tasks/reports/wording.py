"""How numbers and names are written, alike in the page, the Markdown and the terminal."""

from datetime import UTC, datetime

__all__ = ["benchmark_title", "change", "duration", "interval", "moment", "p_value", "share", "signed"]

TITLES = {"alpaca_eval": "AlpacaEval 2.0", "mt_bench": "MT-Bench"}


def benchmark_title(benchmark: str) -> str:
    """A benchmark's name in text."""
    return TITLES.get(benchmark, benchmark)


def signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus: "+0.93", "−0.12"."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(f"{value:.{digits}f}") == 0 else text


def interval(lower: float, upper: float) -> str:
    """Both ends with their signs: "−0.12 to +2.02"."""
    return f"{signed(lower)} to {signed(upper)}"


def change(before: float, after: float, digits: int = 1) -> str:
    """Original, then + ExPO: "10.2 → 11.1"."""
    return f"{before:.{digits}f} → {after:.{digits}f}"


def share(value: float) -> str:
    """A share from 0 to 1 as a percentage; a small one is never rounded to nothing."""
    return "<0.1%" if 0 < value < 0.001 else f"{100 * value:.1f}%"


def p_value(p: float) -> str:
    """Three digits, or a bound."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "8.2 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(created: str) -> str:
    """An ISO 8601 time as people read it: "2026-11-23 23:41 UTC"."""
    return datetime.fromisoformat(created).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
