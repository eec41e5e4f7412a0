"""Fresh engines on written models beside one whose weights are replaced, for many pairs in one process.

    python -m tests.zoo.reloads [NAME...]        a line for each architecture; without names, for all

vLLM is imported once; each engine is a fork of that process, which ends with it. What runs in a
fork is what runs in production: `tasks.generation.engine.main`, `tasks.generation.live_engine.main`.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from tasks.core.child import start_module
from tasks.core.values import Value, canonical_json
from tasks.generation import engine, live_engine
from tasks.generation.engine import EngineJob, EngineRequest
from tasks.generation.live_orders import LiveOrder, LiveReply, LiveSetup
from tasks.generation.process import job_fingerprint
from tasks.weights.adapter import is_adapter
from tests.zoo.engine_pair import QUESTIONS, EnginePair, architecture_pair
from tests.zoo.tiny_architectures import ARCHITECTURES

__all__ = ["STEPS", "WRITTEN", "answer_all", "is_ready", "seconds_of"]

WRITTEN = (0.5, 3.0)
STEPS = (*WRITTEN, 0.5, 0.0)
LOG, REPLIES, SECONDS = "live.log", "replies.jsonl", "seconds"


class PairRequest(Value):
    """One pair: jobs for fresh engines, then the start of a live one (None: none) and its orders."""

    folder: str
    fresh: tuple[EngineJob, ...]
    live: LiveSetup | None
    orders: tuple[LiveOrder, ...]


class Requests(Value):
    """The pairs, one after another."""

    pairs: tuple[PairRequest, ...]


def answer_all(pairs: Sequence[EnginePair]) -> None:
    """Leaves the answers of each pair in its folders fresh-0.5, fresh-3, live-0 (α = 0.5), live-1 (3), …

    A pair that cannot be served has no answers there; its engine.log or live.log says why. A LoRA
    adapter has fresh engines alone.
    """
    requests = Requests(pairs=tuple(_request(pair) for pair in pairs))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "requests.json"
        path.write_bytes(canonical_json(requests))
        process = start_module(
            sys.executable,
            "tests.zoo.reloads",
            ["--serve", str(path)],
            scratch=Path(scratch),
            log=Path(scratch) / "log",
            environment={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        if process.wait():
            raise RuntimeError((Path(scratch) / "log").read_text())


def is_ready(pair: EnginePair) -> bool:
    """Whether the live engine's own check of its reloads has passed."""
    first, *_ = (pair.folder / REPLIES).read_bytes().splitlines()
    return LiveReply.model_validate_json(first).kind == "ready"


def seconds_of(pair: EnginePair) -> float:
    """Wall seconds that all engines of a pair took."""
    return float((pair.folder / SECONDS).read_text())


def _request(pair: EnginePair) -> PairRequest:
    jobs = [pair.job(pair.write(alpha), f"fresh-{alpha:g}") for alpha in WRITTEN]
    for job in jobs:
        Path(job.output).mkdir()
    fresh = tuple(EngineJob(job=job, fingerprint=job_fingerprint(job)) for job in jobs)
    if is_adapter(pair.aligned):
        return PairRequest(folder=str(pair.folder), fresh=fresh, live=None, orders=())
    live = LiveSetup(
        job=pair.job(pair.aligned.folder(), "log"),
        sft=str(pair.sft.folder()),
        pair=pair.recipe(0.0),
        parent=0,  # known where it starts, and the descriptor too
        replies=-1,
    )
    orders = tuple(pair.order(alpha, f"live-{number}") for number, alpha in enumerate(STEPS))
    return PairRequest(folder=str(pair.folder), fresh=fresh, live=live, orders=orders)


def _serve(path: Path) -> None:
    with Path(os.devnull).open("wb") as progress:
        for pair in Requests.model_validate_json(path.read_bytes()).pairs:
            started, folder = time.monotonic(), Path(pair.folder)
            request = EngineRequest(jobs=pair.fresh, parent=os.getppid(), progress=progress.fileno())
            (folder / "fresh.json").write_bytes(canonical_json(request))
            status = engine.main(str(folder / "fresh.json"))
            if pair.live and status == 0:
                child = get_context("fork").Process(target=_live, args=(folder, pair.live, pair.orders))
                child.start()
                child.join()
            (folder / SECONDS).write_text(f"{time.monotonic() - started:.2f}")


def _live(folder: Path, setup: LiveSetup, orders: Sequence[LiveOrder]) -> None:
    """In the fork: the live engine with its orders in a file, and its replies in another."""
    status = 1
    try:
        with (folder / LOG).open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        (folder / "orders.jsonl").write_bytes(b"".join(canonical_json(order) + b"\n" for order in orders))
        sys.stdin = (folder / "orders.jsonl").open()
        replies = os.open(folder / REPLIES, os.O_WRONLY | os.O_CREAT)
        whole = setup.model_copy(update={"parent": os.getppid(), "replies": replies})
        (folder / "setup.json").write_bytes(canonical_json(whole))
        status = live_engine.main(str(folder / "setup.json"))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _print_table(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as work:
        pairs = {name: architecture_pair(Path(work) / name, name) for name in names}
        answer_all(list(pairs.values()))
        for name, pair in pairs.items():
            print(f"{name:22} {_found(pair)}, {seconds_of(pair):.0f} s")


def _found(pair: EnginePair) -> str:
    fresh = {}
    for alpha in WRITTEN:
        folder = pair.folder / f"fresh-{alpha:g}"
        fresh[alpha] = pair.answers(folder.name) if next(folder.glob("answers*"), None) else []
        if len(fresh[alpha]) < len(QUESTIONS):
            log = (folder / "engine.log").read_text().strip().splitlines()
            return f"is not served: {next((line for line in reversed(log) if 'Error' in line), log[-1])}"
    if not is_ready(pair):
        return "answers; reloads are refused by the engine's own check"
    equal = all(pair.answers(f"live-{number}") == fresh.get(alpha) for number, alpha in enumerate(STEPS[:-1]))
    return f"answers; after reloads {'as fresh engines do' if equal else 'OTHERWISE THAN FRESH ENGINES'}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(Path(sys.argv[2]))
        sys.stdout.flush()
        os._exit(0)  # vLLM's modules take a second to take apart
    _print_table(sys.argv[1:] or list(ARCHITECTURES))
