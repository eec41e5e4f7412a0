"""The site builds without a warning, and the page on the published tables has its figures right."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

from tasks.core.families import find_family, names
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[2]
OF_BINOMIAL = 0.92  # zephyr-7b-beta's difference: 1.42 by its annotations, 1.54 by the binomial distribution
ITEMS = 805


def test_no_link_is_broken_and_no_page_left_out(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "-f", str(ROOT / "docs/site/mkdocs.yml")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert "expo extrapolate" in (tmp_path / "site/reference/command.html").read_text()
    assert "MismatchError" in (tmp_path / "site/reference/library.html").read_text()


def test_the_published_gains_are_as_the_page_says() -> None:
    page = (ROOT / "docs/reading-a-report.md").read_text()
    rows = [_read(name) for name in names("published")]
    rows.sort(key=lambda row: -row[2])
    adjusted = 0.0
    lines = []
    for position, (name, (before, after), z) in enumerate(rows):
        p = 2 * (1 - NormalDist().cdf(z))
        adjusted = max(adjusted, min(1.0, p * (len(rows) - position)))
        shown = "<0.001" if adjusted < 0.0005 else f"{adjusted:.3f}"
        holds = "yes" if adjusted < 0.05 else "no"
        lines.append(f"| {name} | {before} → {after} | {after - before:+.1f} | {z:.2f} | {shown} | {holds} |")
    assert re.findall(r"^\| .* → .* \|$", page, re.M) == lines
    assert (sum(row[2] > 1.96 for row in rows), sum(line.endswith("yes |") for line in lines)) == (7, 5)


def _read(name: str) -> tuple[str, tuple[float, float], float]:
    """(family, win rates in %, the gain over its standard error)."""
    published = find_family(name).published
    assert published is not None
    before, after = published.win_rate
    variance = sum(rate * (100 - rate) / ITEMS for rate in (before, after))
    return name, (before, after), (after - before) / (OF_BINOMIAL * math.sqrt(variance))
