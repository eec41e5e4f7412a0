"""Fresh engines on written models beside one whose weights are replaced, for many pairs.

python -m tests.zoo.reloads [NAME...]        a line for each architecture; without names, for all
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tasks.core.errors import ExpoError
from tasks.core.values import canonical_json
from tasks.generation.forked import forked_engine
from tasks.generation.live_orders import LiveReply, LiveSetup
from tasks.generation.live_session import MODULE
from tasks.generation.process import generate
from tasks.weights.adapter import is_adapter
from tests.zoo.engine_pair import QUESTIONS, EnginePair, architecture_pair
from tests.zoo.tiny_architectures import ARCHITECTURES

__all__ = ["STEPS", "WRITTEN", "answer_all", "finding", "is_ready"]

WRITTEN = (0.5, 3.0)
STEPS = (*WRITTEN, 0.5, 0.0)
LOG, REPLIES, ORDERS = "live.log", "replies.jsonl", "orders.jsonl"


def answer_all(pair: EnginePair) -> None:
    """Leaves the answers of a pair in its folders fresh-0.5, fresh-3, live-0 (α = 0.5), live-1 (3), …

    A pair that cannot be served has no answers there; its engine.log or live.log says why. A LoRA
    adapter has fresh engines alone.
    """
    jobs = [pair.job(pair.write(alpha), f"fresh-{alpha:g}") for alpha in WRITTEN]
    with suppress(ExpoError):
        generate(jobs, advance=lambda _: None)
        if not is_adapter(pair.aligned):
            _answer_live(pair)


def _answer_live(pair: EnginePair) -> None:
    """The steps in one engine, also where its own check of reloads has failed."""
    setup = LiveSetup(
        job=pair.job(pair.aligned.folder(), "log"), sft=str(pair.sft.folder()), pair=pair.recipe(0.0)
    )
    orders = [pair.order(alpha, f"live-{number}") for number, alpha in enumerate(STEPS)]
    (pair.folder / ORDERS).write_bytes(b"".join(canonical_json(order) + b"\n" for order in orders))
    with (
        (pair.folder / REPLIES).open("wb") as replies,
        (pair.folder / ORDERS).open("rb") as asked,
        forked_engine(
            MODULE,
            setup,
            python=sys.executable,
            log=pair.folder / LOG,
            descriptors=[replies.fileno(), asked.fileno()],
        ) as engine,
    ):
        engine.wait()


def is_ready(pair: EnginePair) -> bool:
    """Whether the live engine's own check of its reloads has passed."""
    first, *_ = (pair.folder / REPLIES).read_bytes().splitlines()
    return LiveReply.model_validate_json(first).kind == "ready"


def finding(pair: EnginePair) -> str:
    """What the engines of a pair did, in a sentence."""
    fresh = {}
    for alpha in WRITTEN:
        folder = pair.folder / f"fresh-{alpha:g}"
        fresh[alpha] = pair.answers(folder.name) if next(folder.glob("answers*"), None) else []
        if len(fresh[alpha]) < len(QUESTIONS):
            log = (folder / "engine.log").read_text().strip().splitlines()
            return f"is not served: {next((line for line in reversed(log) if 'Error' in line), log[-1])}"
    if fresh[WRITTEN[0]] == fresh[WRITTEN[1]]:
        return "answers alike at both α, which shows nothing"
    if not is_ready(pair):
        return "answers; reloads are refused by the engine's own check"
    live = [pair.answers(f"live-{number}") for number in range(len(STEPS) - 1)]
    equal = [
        sum(answer == expected for answer, expected in zip(answers, fresh[alpha], strict=True))
        for answers, alpha in zip(live, STEPS, strict=False)
    ]
    if all(count == len(QUESTIONS) for count in equal):
        return "answers; after reloads as fresh engines do"
    return f"answers; after reloads OTHERWISE THAN FRESH ENGINES: {equal} of {len(QUESTIONS)} are equal"


def _print_table(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            pair, started = architecture_pair(Path(work) / name, name), time.monotonic()
            answer_all(pair)
            print(f"{name:22} {finding(pair)}, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    _print_table(sys.argv[1:] or list(ARCHITECTURES))
