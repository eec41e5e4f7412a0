"""How long `expo check` takes of a 70B's 723 tensors, and of 20,000, of pairs that fit and pairs that do not.

    python -m tests.performance.planning [--rounds 3]

Prints for each the median CPU and wall seconds of the whole process, and the lines that it printed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from tests.weights.test_many_tensors import Entries, many, skeleton

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=52, help="of 389 tensors each")
    asked = parser.parse_args(arguments)
    entries = many(layers=asked.layers)
    pairs = {
        "of a 70B": (_llama_70b(), _llama_70b()),
        "that fits": (entries, entries),
        "under a wrapper's prefix": (entries, {f"_orig_mod.{name}": entries[name] for name in entries}),
        "of other names": (entries, {f"x{number}": entry for number, entry in enumerate(entries.values())}),
    }
    with tempfile.TemporaryDirectory() as work:
        for title, sides in pairs.items():
            # Skeletons of the same zeros: only what is planned is measured.
            folder = Path(work) / title.replace(" ", "-")
            aligned, sft = (
                skeleton(folder / side, content).folder()
                for side, content in zip(("aligned", "sft"), sides, strict=True)
            )
            cpu, wall, lines = _measured(aligned, sft, asked.rounds)
            print(f"{len(sides[0]):,} tensors, a pair {title}: {cpu:.2f} CPU s, {wall:.2f} s, {lines} lines")


def _llama_70b() -> Entries:
    """The names of Llama-2-70b's tensors, each with one element."""
    attention = [f"self_attn.{part}_proj" for part in "qkvo"]
    parts = (*attention, *(f"mlp.{part}_proj" for part in ("gate", "up", "down")), "input_layernorm")
    of_layers = [
        f"model.layers.{layer}.{part}.weight"
        for layer in range(80)
        for part in (*parts, "post_attention_layernorm")
    ]
    others = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
    return dict.fromkeys((*of_layers, *others), ("BF16", (1,)))


def _measured(aligned: Path, sft: Path, rounds: int) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "flows.cli", "check", "--sft", str(sft), "--aligned", str(aligned)]
    found = [_run(command) for _ in range(rounds)]
    cpu, wall, lines = zip(*found, strict=True)
    return statistics.median(cpu), statistics.median(wall), max(lines)


def _run(command: Sequence[str]) -> tuple[float, float, int]:
    before, begin = getrusage(RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall, after = time.monotonic() - begin, getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, len(done.stdout.splitlines())


if __name__ == "__main__":
    main()
