"""Does a family take about the time of its slowest leg? Download, extrapolate and upload overlapped by shard.

python -m tests.performance.overlap [MEGABYTES]

A pair of checkpoints of MEGABYTES each (default 128, 16 shards) lies on a Hub on loopback, behind a
link of 8 MB/s; the store is a real S3 server behind one of 4 MB/s: 2N and N bytes, so both legs
take the same time. The flow's own code makes the model: four shards at once, one shard after the
other, and streamed. Each time stands beside that of the slowest leg, bytes carried by rate.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers.slow_link import SlowLink

DOWN, UP = 8e6, 4e6  # bytes a second
SHARDS = 16
WIDTH = 1024


def main() -> None:
    """Prints one line for each way; the servers and the files are gone afterwards."""
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 128.0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "EXPO_CACHE": str(folder / "cache"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        _measure(folder, *_serve(stack, folder, megabytes))


def _serve(stack: ExitStack, folder: Path, megabytes: float) -> "tuple[SlowLink, SlowLink]":
    """The two servers behind their links, and the environment that leads to them."""
    from tests.servers.hub import HubServer
    from tests.servers.s3 import S3Server
    from tests.servers.slow_link import SlowLink

    hub = stack.enter_context(HubServer())
    _write_pair(folder / "pair", megabytes)
    hub.add_all(folder / "pair")
    shutil.rmtree(folder / "pair")
    s3 = stack.enter_context(S3Server(folder / "s3"))
    to_hub = stack.enter_context(SlowLink(hub.port, down=DOWN))
    to_s3 = stack.enter_context(SlowLink(s3.port, up=UP))
    os.environ |= s3.environment() | {"HF_ENDPOINT": to_hub.url, "AWS_ENDPOINT_URL": to_s3.url}
    return to_hub, to_s3


def _write_pair(folder: Path, megabytes: float) -> None:
    import torch

    from tests.weights.checkpoints import write_checkpoint

    rows = max(1, round(megabytes * 1e6 / SHARDS / WIDTH / 2))
    for name, seed in (("org/aligned", 1), ("org/sft", 2)):
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            f"layers.{n:02d}.weight": torch.randn(rows, WIDTH, generator=generator).bfloat16()
            for n in range(SHARDS)
        }
        write_checkpoint(folder / name, tensors, cuts=range(1, SHARDS))


def _measure(folder: Path, to_hub: "SlowLink", to_s3: "SlowLink") -> None:
    from prefect import flow
    from prefect.testing.utilities import prefect_test_harness

    from flows import shards
    from flows.family import extrapolate_models
    from tasks.stores.open import open_source
    from tasks.weights.inputs import InputMode
    from tasks.weights.recipe import Recipe
    from tests.servers.s3 import BUCKET

    aligned, sft = open_source("org/aligned").checkpoint, open_source("org/sft").checkpoint
    ways: list[tuple[str, int, InputMode]] = [
        ("one after the other", 1, "download"),
        ("overlapped", shards.THREADS, "download"),
        ("overlapped, streamed", shards.THREADS, "stream"),
    ]
    with prefect_test_harness(server_startup_timeout=600):
        for number, (way, shards.THREADS, inputs) in enumerate(ways):
            shutil.rmtree(folder / "hf", ignore_errors=True)
            recipe = Recipe(aligned=aligned, sft=sft, alpha=0.3 + number)
            down, up, begun = to_hub.carried[0], to_s3.carried[1], time.monotonic()
            flow(extrapolate_models)([recipe], f"s3://{BUCKET}/{number}", inputs)
            seconds = time.monotonic() - begun
            legs = (to_hub.carried[0] - down) / DOWN, (to_s3.carried[1] - up) / UP
            print(
                f"{way:22} {seconds:6.1f} s = {seconds / max(legs):.2f} × the slowest leg "
                f"(download {legs[0]:.1f} s, upload {legs[1]:.1f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
