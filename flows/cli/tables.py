"""Tables and the progress bar of the `expo` command."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.progress import is_quiet

if TYPE_CHECKING:
    from tasks.core.families import Family
    from tasks.core.values import Value
    from tasks.stores.gc import Orphan
    from tasks.weights.jobs import Plan

__all__ = [
    "families_table",
    "family_table",
    "orphans_table",
    "plan_figures",
    "plan_notices",
    "plan_table",
    "print_values",
    "progress_bar",
]


FILES_NAMED = 8
DISK_BYTES_PER_SECOND = 1e9


def families_table() -> None:
    """Prints the registry; the published figures are original → + ExPO, AlpacaEval 2.0 in %."""
    from tasks.core.families import registry

    table = Table(box=None, pad_edge=False)
    for name in ("family", "α", "WR", "LC", "MT-Bench"):
        table.add_column(name, no_wrap=True)
    for entry in registry().values():
        table.add_row(entry.name, f"{entry.alpha:g}", *_published(entry))
    Console().print(table)


def family_table(entry: "Family") -> None:
    """Prints all that the registry knows of one family."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for field, value in entry.model_dump(mode="json", exclude_defaults=True).items():
        table.add_row(field, Text(json.dumps(value, ensure_ascii=False).strip('"')))
    Console().print(table)


def plan_table(plan: "Plan") -> None:
    """Prints on one screen what an extrapolation reads, writes, copies and skips, and what it takes."""
    from tasks.weights.pass_memory import memory_needed

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    recipe = plan.recipe
    aligned = sorted({file for shard in plan.shards for file in shard.aligned_files}) or ["an adapter"]
    sft = sorted({file for shard in plan.shards for file in shard.sft_files})
    table.add_row("aligned", f"{recipe.aligned.uri} at {recipe.aligned.commit[:12]}: {_files(aligned)}")
    table.add_row("SFT", f"{recipe.sft.uri} at {recipe.sft.commit[:12]}: {_files(sft)}")
    table.add_row("α", f"{recipe.alpha:g}")
    table.add_row("parameters", f"{plan.parameters:,}")
    table.add_row("reads", _gigabytes(plan.input_bytes))
    if recipe.adapter == "scale":
        table.add_row("writes", f"the adapter at (1 + α) times its scale, {plan.output_bytes / 1e6:.1f} MB")
    else:
        table.add_row("writes", f"{_gigabytes(plan.output_bytes)} in {_shards(len(plan.shards))}")
    table.add_row("copies", _files([*plan.side_files, *plan.sft_side_files]))
    if plan.shards:
        table.add_row("memory", f"{_gigabytes(memory_needed(plan))} for buffers, beside Python's libraries")
        table.add_row("time", _duration(plan.input_bytes + plan.output_bytes))
    for notice in plan_notices(plan):
        table.add_row("notice", Text(notice))
    table.add_row("fingerprint", recipe.fingerprint[:16])
    Console().print(table)


def plan_figures(plan: "Plan") -> dict[str, Any]:
    """What `plan_table` shows, as JSON has it; sizes in bytes."""
    from tasks.weights.pass_memory import memory_needed

    return {
        "aligned": plan.recipe.aligned.model_dump(mode="json"),
        "sft": plan.recipe.sft.model_dump(mode="json"),
        "alpha": plan.recipe.alpha,
        "parameters": plan.parameters,
        "input_bytes": plan.input_bytes,
        "output_bytes": plan.output_bytes,
        "shards": len(plan.shards),
        "memory_bytes": memory_needed(plan) if plan.shards else 0,
        "copied_files": [*plan.side_files, *plan.sft_side_files],
        "notices": list(plan_notices(plan)),
        "fingerprint": plan.recipe.fingerprint,
    }


def print_values(values: "Iterable[Value]") -> None:
    """Prints values as a JSON list."""
    print(json.dumps([value.model_dump(mode="json") for value in values], indent=1, ensure_ascii=False))


def plan_notices(plan: "Plan") -> tuple[str, ...]:
    """The notices of a plan, one line each: how sides were matched, what is copied and left out."""
    from tasks.weights.manifest import matching_notices

    lines = list(matching_notices(plan))
    left_out = [name for name in plan.left_out if name not in ("README.md", ".gitattributes")]
    if left_out:
        lines.append(f"not copied: {_files(left_out)}")
    return tuple(lines)


def orphans_table(orphans: "Sequence[Orphan]") -> None:
    """Prints files that no manifest references, the oldest first."""
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("last changed", no_wrap=True)
    table.add_column("size", no_wrap=True, justify="right")
    table.add_column("place", overflow="fold")
    for orphan in orphans:
        table.add_row(
            orphan.kind, f"{orphan.changed:%Y-%m-%d %H:%M}", _gigabytes(orphan.bytes), Text(orphan.place)
        )
    if orphans:
        Console().print(table)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal: gives a function that counts bytes, callable from any thread."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=is_quiet()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def _published(entry: "Family") -> tuple[str, str, str]:
    if entry.published is None:
        return "–", "–", "–"
    win_rate, lc, mt_bench = entry.published.win_rate, entry.published.lc_win_rate, entry.published.mt_bench
    return (
        f"{win_rate[0]:.1f} → {win_rate[1]:.1f}",
        f"{lc[0]:.1f} → {lc[1]:.1f}",
        f"{mt_bench[0]:.2f} → {mt_bench[1]:.2f}",
    )


def _files(names: "Sequence[str]") -> str:
    more = f" and {len(names) - FILES_NAMED} more" if len(names) > FILES_NAMED else ""
    return ", ".join(names[:FILES_NAMED]) + more


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def _duration(bytes_moved: int) -> str:
    """Reading and writing is what takes the time: fast disks move some 1 GB/s, networks a tenth."""
    seconds = bytes_moved / DISK_BYTES_PER_SECOND
    if seconds < 60:
        return f"about {max(1, round(seconds))} s on a disk of 1 GB/s"
    return f"about {round(seconds / 60)} min on a disk of 1 GB/s, ten times that over a network of 100 MB/s"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"
