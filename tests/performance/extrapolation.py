"""The extrapolation of two checkpoints, as whole processes, against what else one could run.

    python -m tests.performance.extrapolation                       2 GB, five rounds, warm and cold
    python -m tests.performance.extrapolation --gigabytes 8 --rounds 3
    python -m tests.performance.extrapolation --sizes 1 2 4 8       our cost against the size
    python -m tests.performance.extrapolation --alphas 1 2 4 8      our cost against the number of α

Every round runs every program once, each round beginning with another one; `expo extrapolate` runs twice,
so that the difference of the two shows the noise. Results go to
out/performance/: a JSON file and a plot. mergekit is installed into an environment of its own.
"""

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.performance.accuracy import accuracy
from tests.performance.measure import Figures, Program, Run, drop_caches, median, run_process
from tests.performance.mergekit import mergekit_program
from tests.performance.plot import plot_costs, plot_programs
from tests.performance.synthetic import make_pair

__all__ = ["compare", "main", "our_costs"]

ALPHA = 0.3
EXPO, FLOOR = "expo extrapolate", "floor"
RESULTS = Path("out/performance")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what was asked for, prints a table and writes the results."""
    options = _options().parse_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    if options.sizes or options.alphas:
        rows = our_costs(options.work, options.gigabytes, options.sizes, options.alphas, options.rounds)
        name = "sizes" if options.sizes else "alphas"
        plot_costs(rows, options.results / f"{name}.png")
    else:
        rows = []
        for state in options.states:
            rows += compare(options.work, options.gigabytes, options.rounds, state, mergekit=options.mergekit)
        name = f"extrapolation-{options.gigabytes:g}"
        plot_programs(rows, options.results / f"{name}.png")
    found = {"machine": _machine(), "gigabytes": options.gigabytes, "rounds": options.rounds, "rows": rows}
    (options.results / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"{options.results / name}.json and .png")


def compare(work: Path, gigabytes: float, rounds: int, state: str, *, mergekit: bool) -> list[Row]:
    """One row for each program; `state` of the page cache is "warm" or "cold"."""
    aligned, sft = make_pair(work, gigabytes)
    programs = _programs(aligned, sft, work, mergekit)
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    exact: dict[str, Row] = {}
    for number in range(rounds):
        turn = number % len(programs)
        for program in [*programs[turn:], *programs[:turn]]:
            out = work / "model"
            shutil.rmtree(out, ignore_errors=True)
            if state == "cold":
                drop_caches((aligned, sft))
            else:
                _read((aligned, sft))
            runs[program.name].append(run_process(program, out))
            if number == 0 and program.name != FLOOR:
                exact[program.name] = accuracy(aligned, sft, out, ALPHA)._asdict()
            print(
                f"{state} round {number + 1}: {program.name} {runs[program.name][-1].wall:.1f} s", flush=True
            )
    shutil.rmtree(work / "model", ignore_errors=True)
    figures = {name: median(found) for name, found in runs.items()}
    rows = [
        {
            "state": state,
            "program": name,
            **measured._asdict(),
            **exact.get(name, {}),
            **_ratios(measured, figures),
        }
        for name, measured in figures.items()
    ]
    _print(rows)
    return rows


def our_costs(
    work: Path, gigabytes: float, sizes: Sequence[float], alphas: Sequence[int], rounds: int
) -> list[Row]:
    """Time and memory of `expo extrapolate`, and the floor's time, by size of a checkpoint or number of α."""
    rows: list[Row] = []
    for size, count in [(size, 1) for size in sizes] or [(gigabytes, count) for count in alphas]:
        aligned, sft = make_pair(work, size)
        names = {
            EXPO: _expo(aligned, sft, [ALPHA + 0.1 * n for n in range(count)]),
            FLOOR: _peer(FLOOR, aligned, sft),
        }
        for name, program in names.items():
            runs = []
            for _ in range(rounds):
                shutil.rmtree(work / "model", ignore_errors=True)
                _read((aligned, sft))
                runs.append(run_process(program, work / "model"))
            rows.append({"program": name, "gigabytes": size, "alphas": count, **median(runs)._asdict()})
            print(f"{name}, {size:g} GB, {count} α: {rows[-1]['wall']:.2f} s, {rows[-1]['rss'] / 1e6:.0f} MB")
        if size != gigabytes:
            shutil.rmtree(aligned)
            shutil.rmtree(sft)
    shutil.rmtree(work / "model", ignore_errors=True)
    return rows


def _programs(aligned: Path, sft: Path, work: Path, mergekit: bool) -> list[Program]:
    peers = [_peer(name, aligned, sft) for name in (FLOOR, "authors", "safe-open")]
    again = _expo(aligned, sft, [ALPHA])._replace(name=f"{EXPO}, again")
    others = mergekit_program(aligned, sft, ALPHA, work) if mergekit else []
    return [_expo(aligned, sft, [ALPHA]), again, *peers, *others]


def _expo(aligned: Path, sft: Path, alphas: Sequence[float]) -> Program:
    command = [sys.executable, "-m", "flows.cli", "extrapolate", "--aligned", str(aligned), "--sft", str(sft)]
    for alpha in alphas:
        command += ["--alpha", f"{alpha:g}"]
    return Program(EXPO, (*command, "--out"))


def _peer(name: str, aligned: Path, sft: Path) -> Program:
    module = (sys.executable, "-m", "tests.performance.programs")
    return Program(name, (*module, name, str(aligned), str(sft), str(ALPHA)))


def _read(folders: Sequence[Path]) -> None:
    """Brings the inputs into the page cache, as far as it holds them."""
    for path in (path for folder in folders for path in folder.iterdir()):
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while file.readinto(buffer):
                pass


def _ratios(measured: Figures, figures: dict[str, Figures]) -> Row:
    return {
        "times_floor": measured.wall / figures[FLOOR].wall,
        "times_expo": measured.wall / figures[EXPO].wall,
    }


def _print(rows: Sequence[Row]) -> None:
    heads = {"wall s": 8, "least–most": 14, "+ sync": 8, "CPU s": 8, "peak MB": 9, "× floor": 9, "× expo": 8}
    print(f"{'':22}" + "".join(f"{head:>{width}}" for head, width in heads.items()) + f"{'right':>10}")
    for row in rows:
        span = f"{row['least']:.1f}–{row['greatest']:.1f}"
        right = f"{row['off_ties']:.4%}" if "off_ties" in row else ""
        print(
            f"{row['program']:22}{row['wall']:8.2f}{span:>14}{row['synced']:8.2f}{row['cpu']:8.1f}"
            f"{row['rss'] / 1e6:9.0f}{row['times_floor']:9.2f}{row['times_expo']:8.2f}{right:>10}"
        )


def _machine() -> Row:
    import os

    import torch

    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=2, help="of each checkpoint, in 10⁹ bytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--states", nargs="+", default=["warm", "cold"], choices=["warm", "cold"])
    parser.add_argument("--sizes", nargs="+", type=float, default=[], help="measure it at these sizes")
    parser.add_argument("--alphas", nargs="+", type=int, default=[], help="measure it with so many α")
    parser.add_argument("--work", type=Path, default=Path("out/work"), help="where checkpoints are made")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-mergekit", dest="mergekit", action="store_false")
    return parser


if __name__ == "__main__":
    main()
