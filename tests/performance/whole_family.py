"""A whole family behind links of limited speed: where the time goes, by the run's own records.

    python -m tests.performance.whole_family [--down 4] [--up 2] [--latency 0.2] [--plot time.svg]
    python -m tests.performance.whole_family --demo

`expo run` takes a stand-in, two random Llamas of --hidden and --layers, from a Hub behind a link of --down
MB/s to a verdict in an S3 store behind one of --up MB/s; the judge takes --latency seconds for each request.
With --demo it is `expo demo`, which has no Hub and its own judge. Prints when each stage worked and waited,
the time against the longest leg and against the links (bytes carried by rate), and the share of no stage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tasks.core.timeline import Timeline, length
from tasks.reports.run_report import RunReport
from tasks.reports.time_plot import time_plot, time_sentence
from tasks.stores.disk import cache_folder
from tests.performance.synthetic import random_llama_config
from tests.servers.hub import HubServer
from tests.servers.judge import JudgeServer
from tests.servers.s3 import BUCKET, S3Server
from tests.servers.slow_link import SlowLink

__all__ = ["Measured", "main", "measure"]

MEGA = 1e6
ALIGNED, SFT, FAMILY = "org/aligned", "org/sft", "stand-in"
SHARDS = 4  # of a checkpoint
ORCHESTRATION = 0.05  # the target for what passes in no stage
STORE = f"s3://{BUCKET}/store"


class Measured(NamedTuple):
    """A family's run.

    timeline  of its report
    seconds   of the whole command, the start of Python and of the Prefect server included
    links     seconds that each link needs for what it carried, by its name
    """

    timeline: Timeline
    seconds: float
    links: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures of one run."""
    options = _options(arguments)
    found = measure(options)
    timeline = found.timeline
    print(f"{'stage':44} {'begin':>7} {'end':>7} {'worked':>7} {'waited':>7}   seconds")
    for row in timeline.rows:
        spans = (*row.work, *row.wait)
        begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
        times = (begin, end, length(row.work), length(row.wait))
        print(f"{row.label[:44]:44} " + " ".join(f"{seconds:7.1f}" for seconds in times))
    print(time_sentence(timeline))
    for link, seconds in found.links.items():
        if seconds:
            ratio = timeline.seconds / seconds
            print(f"{link}: {seconds:.1f} s at its rate; the run took {ratio:.2f} times as long")
    share = timeline.in_no_stage / timeline.seconds
    print(f"in no stage: {share:.1%} of the family's run (target: at most {ORCHESTRATION:.0%})")
    print(
        f"the whole command: {found.seconds:.1f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    if options.plot:
        options.plot.write_text(time_plot(timeline))


def measure(options: argparse.Namespace) -> Measured:
    """Runs the command once, in a process of its own; the servers and the files are gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hub, judge = stack.enter_context(HubServer()), stack.enter_context(JudgeServer())
        s3 = stack.enter_context(S3Server(folder / "s3"))
        to_hub = stack.enter_context(SlowLink(hub.port, down=options.down * MEGA))
        to_s3 = stack.enter_context(SlowLink(s3.port, up=options.up * MEGA))
        judge.prefers = lambda first, second: _prefers_longer(first, second, options.latency)
        environment = {
            **os.environ,
            **hub.environment(folder / "hub"),
            **s3.environment(),
            "EXPO_CACHE": str(folder / "cache"),
            "NUMBA_CACHE_DIR": str(cache_folder() / "compiled"),  # the user's: compiling is no part of it
            "EXPO_FAMILIES": str(_write_registry(folder, options.questions)),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        if not options.demo:
            for seed, name in enumerate((ALIGNED, SFT)):
                _write_model(folder / "models" / name, options, seed)
            hub.add_all(folder / "models")
        slow = environment | {"HF_ENDPOINT": to_hub.url, "AWS_ENDPOINT_URL": to_s3.url}
        run = ["run", FAMILY, "--judge-model", "longer", "--judge-url", judge.url]
        begin = time.monotonic()
        _expo([*(["demo"] if options.demo else run), "--store", STORE], slow)
        seconds = time.monotonic() - begin
        links = {
            "the Hub's link": to_hub.carried[0] / (options.down * MEGA),
            "the store's link": to_s3.carried[1] / (options.up * MEGA),
        }
        written = _expo(["report", "--json", "--store", STORE], environment)
    (timeline,) = RunReport.model_validate_json(written).timelines
    return Measured(timeline, seconds, links)


def _expo(arguments: Sequence[str], environment: dict[str, str]) -> str:
    """Runs a command of `expo`; its standard output. What it logs is shown as it comes."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _prefers_longer(first: str, second: str, latency: float) -> bool:
    time.sleep(latency)
    return len(first) > len(second)


def _write_registry(folder: Path, questions: int) -> Path:
    """The stand-in's entry, and the file of its questions."""
    asked, families = folder / "questions.json", folder / "families.json"
    rows = [
        {"instruction": f"Question {number}: why?", "output": "So.", "generator": "reference"}
        for number in range(questions)
    ]
    asked.write_text(json.dumps(rows))
    entry = {
        "group": "experimental",
        "aligned": ALIGNED,
        "sft": SFT,
        "alpha": 0.5,
        "alpha_source": "none: a stand-in",
        "architecture": "Llama",
        "instructions": str(asked),
        "max_tokens": 64,
        "max_model_len": 256,
    }
    families.write_text(json.dumps({FAMILY: entry}))  # JSON is YAML
    return families


def _write_model(folder: Path, options: argparse.Namespace, seed: int) -> None:
    """A random Llama in a few shards; the two sides differ a little."""
    import torch
    from transformers import LlamaForCausalLM

    config = random_llama_config(folder, options.hidden, options.layers)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 1e-3 * seed * torch.randn_like(weights)
    (folder / "model.safetensors").unlink()
    size = 2 * sum(weights.numel() for weights in model.parameters())
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=size // SHARDS)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", action="store_true", help="the embedded family in place of a stand-in")
    parser.add_argument("--down", type=float, default=4.0, help="MB a second from the Hub")
    parser.add_argument("--up", type=float, default=2.0, help="MB a second to the store")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of the judge's answer")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 32")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--plot", type=Path, help="where the plot goes, as SVG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
