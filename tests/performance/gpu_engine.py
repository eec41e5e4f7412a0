"""vLLM on a GPU: reloads, the generation stage, a search's next α; by the programs that measure a CPU."""

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from tasks.demo.checkpoints import prepare
from tests.performance import generation, search
from tests.zoo.engine_pair import architecture_pair, folders_pair
from tests.zoo.reloads import answer_all, finding

__all__ = ["measure_generation", "measure_reloads", "measure_search"]

# About 1 GB in bf16; few rounds, since each engine takes the better part of a minute to start.
GENERATION = Namespace(prompts=400, tokens=128, rounds=1, hidden=2048, layers=10, batches=[256])
SEARCH = Namespace(hidden=2048, layers=10, prompts=128, tokens=64, rounds=1)


def measure_reloads(pair: tuple[Path, Path] | None, architectures: Sequence[str]) -> dict[str, object]:
    """What each pair's engines did, in words, and the seconds that they took.

    Args:
        pair: folders of an aligned and an SFT checkpoint; None: the demo's, trained if it is not there.
        architectures: names of tests.zoo.tiny_architectures, for tiny pairs beside it.
    """
    if pair is None:
        demo = prepare()
        pair = demo.aligned, demo.sft
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        pairs = {"pair": folders_pair(work / "pair", *pair)}
        pairs |= {name: architecture_pair(work / name, name) for name in architectures}
        for name, engine_pair in pairs.items():
            started = time.monotonic()
            answer_all(engine_pair)
            found[name] = {"found": finding(engine_pair), "seconds": time.monotonic() - started}
            print(f"{name}: {found[name]}", file=sys.stderr)
    return found


def measure_generation() -> dict[str, object]:
    """Tokens a second, and the seconds of import and loading."""
    with tempfile.TemporaryDirectory() as scratch:
        bare, stage = generation.measure(Path(scratch), GENERATION)
    return {
        "model": f"hidden {GENERATION.hidden}, {GENERATION.layers} layers",
        "prompts": GENERATION.prompts,
        "import s": [run["import"] for run in bare],
        "load s": [run["load"] for run in bare],
        "bare tokens": [run["tokens"] for run in bare],
        "bare tokens/s": [run["tokens"] / run["seconds"] for run in bare],
        "stage tokens": {size: [run.tokens for run in runs] for size, runs in stage.items()},
        "stage tokens/s": {size: [run.tokens_per_second for run in runs] for size, runs in stage.items()},
    }


def measure_search() -> dict[str, object]:
    """Seconds of one more α; see `tests.performance.search`."""
    return search.measure(SEARCH)._asdict()
