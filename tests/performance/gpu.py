"""What a GPU does for each part of the work; figures as JSON, in ten minutes in all.

    python -m tests.performance.gpu
    python -m tests.performance.gpu --parts resident reloads --out out/gpu.json
    python -m tests.performance.gpu --parts disk --gigabytes 8

    tests       the tests that are marked `gpu`
    resident    θ(α) of two models in the GPU's memory, written into a third's, beside a copy's bandwidth
    reloads     answers of a vLLM whose weights were replaced beside a fresh one's on the written model:
                the demo's pair (or --pair), and tiny models of --architectures
    generation  tokens per second of the generation stage beside a bare `vllm.LLM.generate`
    search      one more α of a search, in the running engine and by files
    disk        the same shards from disk to disk, on the CPU and on the GPU (only when it is named)

Each part is a process of its own, so that nothing of it stays in the GPU's memory, and the file is
written after each. A part that fails or takes longer than --limit is recorded with the end of its output.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["main"]

Figures = Mapping[str, object]
QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
PACKAGES = ("torch", "triton", "transformers", "vllm")
TAIL = 4000  # characters of a failed part's output


def main() -> None:
    """Runs the parts and writes their figures."""
    options = _options()
    if options.inside:
        (part,) = options.parts
        print(json.dumps(PARTS[part](options)))
        return
    found: dict[str, object] = {"card": _card(), "versions": _versions()}
    for part in options.parts:
        started = time.monotonic()
        found[part] = _run(part, options.limit)
        print(f"{part}: {time.monotonic() - started:.0f} s\n{json.dumps(found[part], indent=1)}", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [part for part in PARTS if part != "disk"]
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=usual, metavar="PART")
    parser.add_argument("--out", type=Path, default=Path("out/gpu.json"))
    parser.add_argument("--sizes", nargs="+", type=float, default=[4, 16], help="GB of a resident model")
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("ALIGNED", "SFT"), help="for reloads")
    parser.add_argument("--architectures", nargs="+", default=[], metavar="NAME", help="such as Qwen3-MoE")
    parser.add_argument("--gigabytes", type=float, default=8, help="of each checkpoint from disk to disk")
    parser.add_argument("--limit", type=float, default=180, help="seconds for each part")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(part: str, limit: float) -> object:
    """A part's figures from a process of its own, started as this one was."""
    arguments = _without_parts(sys.argv[1:])
    command = [sys.executable, "-m", "tests.performance.gpu", *arguments, "--inside", "--parts", part]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        why = "it ended with an error"
        try:
            printed, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            why = f"not done within {limit:g} s"
        if process.returncode == 0:
            return json.loads(printed.splitlines()[-1])
        log.seek(0)
        return {"failed": why, "output": (printed + log.read())[-TAIL:]}


def _without_parts(arguments: Sequence[str]) -> list[str]:
    """The command line without --parts and its names."""
    kept: list[str] = []
    skipping = False
    for argument in arguments:
        skipping = argument == "--parts" or (skipping and not argument.startswith("-"))
        if not skipping:
            kept.append(argument)
    return kept


def _card() -> str:
    if shutil.which(QUERY[0]) is None:
        sys.exit("there is no NVIDIA GPU here (no nvidia-smi in PATH)")
    return subprocess.run(QUERY, capture_output=True, text=True, check=True).stdout.strip()


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _tests(options: argparse.Namespace) -> Figures:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/weights/test_shard_writer.py"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return {"pytest": done.stdout.splitlines()[-1]}


def _resident(options: argparse.Namespace) -> Figures:
    from tests.performance.gpu_weights import measure_resident

    return {f"{size:g} GB": measure_resident(size) for size in options.sizes}


def _disk(options: argparse.Namespace) -> Figures:
    from tests.performance.gpu_weights import measure_disk

    return measure_disk(Path("out/work"), options.gigabytes, rounds=3)


def _reloads(options: argparse.Namespace) -> Figures:
    from tests.performance.gpu_engine import measure_reloads

    aligned_and_sft = tuple(options.pair) if options.pair else None
    return measure_reloads(aligned_and_sft, options.architectures)


def _generation(options: argparse.Namespace) -> Figures:
    from tests.performance.gpu_engine import measure_generation

    return measure_generation()


def _search(options: argparse.Namespace) -> Figures:
    from tests.performance.gpu_engine import measure_search

    return measure_search()


PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "tests": _tests,
    "resident": _resident,
    "reloads": _reloads,
    "generation": _generation,
    "search": _search,
    "disk": _disk,
}

if __name__ == "__main__":
    main()
