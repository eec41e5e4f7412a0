"""One more α of a search: in a running engine, and by writing the model and starting an engine on it.

    python -m tests.performance.search [--hidden 512] [--layers 8] [--prompts 32] [--tokens 32] [--rounds 3]

Prints, as medians over the rounds and for the same prompts: how long it takes until θ(α) has answered
in the engine that runs, of that the new weights alone, how long `extrapolate`, a fresh engine and its answers
take, and how long both parents' bytes take to read once. The pair is two random Llamas. Everything is timed
in this one process, the ways in turn.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tasks.core.values import canonical_json
from tasks.generation.live_orders import LiveOrder, Probe, ProbeTexts
from tasks.generation.live_session import LiveEngine, live_engine
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.performance.synthetic import random_llama_config

__all__ = ["Seconds", "main", "measure"]

FIRST = 0.1  # α of the first round; each is another, so that nothing is loaded already
READ = 4 << 20


class Setting:
    """A pair on disk, the prompts, and the jobs on them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.count = folder, options.prompts
        self.aligned, self.sft = (
            FolderSource(_make_model(folder / name, options, seed))
            for seed, name in enumerate(("aligned", "sft"))
        )
        self.prompts = folder / "prompts.json"
        rows = [{"instruction": f"Question {number}: why?"} for number in range(self.count)]
        self.prompts.write_text(json.dumps(rows))
        texts = ProbeTexts(prompts=("Why?",), answers=("So.",))
        (folder / "own.json").write_bytes(canonical_json(texts))
        sampling = Sampling(max_tokens=options.tokens)
        # Two engines at a time: the running one, and the one that starts on files.
        self.settings = GenerationSettings(
            sampling=sampling, batch_size=self.count, max_model_len=256, gpu_memory_utilization=0.4
        )

    def recipe(self, alpha: float) -> Recipe:
        return Recipe(aligned=self.aligned.checkpoint, sft=self.sft.checkpoint, alpha=alpha)

    def job(self, model: Path, output: str) -> GenerationJob:
        return GenerationJob(
            model=str(model),
            instructions=str(self.prompts),
            output=str(self.folder / output),
            settings=self.settings,
            generator="search",
            benchmark="alpaca_eval",
            form="instructions",
        )

    def order(self, alpha: float, folder: str, recipe: Recipe | None) -> LiveOrder:
        place = self.folder / folder
        place.mkdir()
        return LiveOrder(
            recipe=recipe,
            fingerprint=f"α={alpha}",
            folder=str(place),
            prompts=str(self.prompts),
            stop=self.count,
            own_answers=str(self.folder / "own.json"),
            probe=str(place / "probe.json"),
        )


class Seconds(NamedTuple):
    """One more α, as medians of the rounds.

    running  until θ(α) has answered in the running engine; reload: of that the new weights
    files    to write the model, start an engine on it and have its answers
    read     both parents' bytes, once
    size     bytes of a checkpoint
    """

    running: float
    reload: float
    files: float
    read: float
    size: int


def main() -> None:
    """Prints the figures."""
    options = _options()
    found = measure(options)
    times = found.files / found.running
    print(f"a checkpoint of {found.size / 1e6:.0f} MB, {options.prompts} prompts × {options.tokens} tokens")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(
        f"one more α in the running engine: {found.running:.2f} s, of that new weights {found.reload:.2f} s"
    )
    print(f"by files and a fresh engine: {found.files:.2f} s, {times:.1f} times as long")
    ratio = found.reload / found.read
    print(f"both parents read once: {found.read:.3f} s; new weights take {ratio:.2f} times as long")


def measure(options: argparse.Namespace) -> Seconds:
    """Rounds of each way, in turn."""
    running: list[float] = []
    reloads: list[float] = []
    files: list[float] = []
    reads: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(Path(scratch), options)
        job = setting.job(setting.aligned.folder(), "live")
        pair, sft = setting.recipe(0), setting.sft.folder()
        with live_engine(job, pair=pair, sft=sft, advance=lambda _: None) as engine:
            for number in range(options.rounds):
                alpha = FIRST * (number + 1)
                reads.append(_timed(partial(_read_parents, setting)))
                running.append(_timed(partial(_in_running_engine, setting, engine, alpha)))
                probe_file = setting.folder / f"running-{alpha}/probe.json"
                reloads.append(Probe.model_validate_json(probe_file.read_bytes()).seconds)
                print(f"running {running[-1]:.2f} s, of it new weights {reloads[-1]:.2f}", file=sys.stderr)
                files.append(_timed(partial(_by_files, setting, alpha)))
        size = sum(path.stat().st_size for path in setting.aligned.folder().glob("*.safetensors"))
    return Seconds(median(running), median(reloads), median(files), median(reads), size)


def _in_running_engine(setting: Setting, engine: LiveEngine, alpha: float) -> None:
    engine.obey(setting.order(alpha, f"running-{alpha}", setting.recipe(alpha)))


def _by_files(setting: Setting, alpha: float) -> None:
    model = setting.folder / f"model-{alpha}"
    plan = make_plan(setting.recipe(alpha), setting.aligned, setting.sft)
    extrapolate(plan, setting.aligned, setting.sft, Artefact(str(model)))
    job = setting.job(model, f"fresh-{alpha}")
    with live_engine(job, pair=None, sft=None, advance=lambda _: None) as engine:
        engine.obey(setting.order(alpha, f"files-{alpha}", None))


def _read_parents(setting: Setting) -> None:
    buffer = bytearray(READ)
    for source in (setting.aligned, setting.sft):
        for path in source.folder().glob("*.safetensors"):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def _timed(work: Callable[[], None]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _make_model(folder: Path, options: argparse.Namespace, seed: int) -> Path:
    import torch
    from transformers import LlamaForCausalLM

    config = random_llama_config(folder, options.hidden, options.layers)
    torch.manual_seed(seed)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 32")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
