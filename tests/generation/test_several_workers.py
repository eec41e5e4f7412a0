"""Real vLLM with a model over two workers (tensor parallel): served, reloaded, and a worker killed."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.errors import RetryableError
from tasks.core.values import canonical_json
from tasks.generation.live_orders import LiveOrder, Probe, ProbeTexts
from tasks.generation.live_session import LiveEngine, live_engine
from tasks.generation.process import generate
from tasks.generation.settings import Sampling
from tests.servers.processes import command_line, descendants
from tests.zoo.engine_pair import QUESTIONS, EnginePair, family_pair

pytestmark = pytest.mark.slow
SOON = 120.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> EnginePair:
    """Two attention heads with a key-value head each, so that each worker has one."""
    pair = family_pair(tmp_path_factory.mktemp("pair"), "tulu-2-dpo-7b")
    pair.settings = pair.settings.model_copy(
        update={"tensor_parallel_size": 2, "sampling": Sampling(max_tokens=16)}
    )
    return pair


@contextmanager
def _live(pair: EnginePair, log: str) -> Iterator[LiveEngine]:
    job = pair.job(pair.aligned.folder(), log)
    with live_engine(job, pair=pair.recipe(0), sft=pair.sft.folder(), advance=lambda _: None) as engine:
        yield engine


def _workers(engine: LiveEngine) -> list[int]:
    assert engine.pid
    return [child.pid for child in descendants(engine.pid) if "resource_tracker" not in command_line(child)]


def _kill_worker_during_reload(pair: EnginePair, engine: LiveEngine, order: LiveOrder) -> None:
    """A worker that is stopped cannot finish its reload; it is killed once the order is being done."""
    worker = _workers(engine)[-1]
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        answered = pool.submit(engine.obey, order)
        deadline = time.monotonic() + SOON
        while not any(file.stat().st_size for file in Path(order.folder).iterdir()):
            assert time.monotonic() < deadline and not answered.done()
            time.sleep(0.05)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(RetryableError, match="a worker of the engine ended by signal 9"):
            answered.result(timeout=SOON)


def test_answers_after_reloads_equal_fresh_engines_whatever_is_killed(pair: EnginePair) -> None:
    """Up and down; the killed worker's engine leaves the α before whole, and the next one goes on."""
    generate(
        [pair.job(pair.write(alpha), f"fresh-{alpha:g}") for alpha in (0.5, 3.0)], advance=lambda _: None
    )
    fresh = {alpha: pair.answers(f"fresh-{alpha:g}") for alpha in (0.5, 3.0)}
    assert fresh[0.5] != fresh[3.0] and all(len(answers) == len(QUESTIONS) for answers in fresh.values())
    with _live(pair, "log of the killed") as killed:
        killed.obey(pair.order(0.5, "first"))
        assert len(_workers(killed)) == 2
        _kill_worker_during_reload(pair, killed, pair.order(3.0, "second"))
    assert pair.answers("first") == fresh[0.5]
    with _live(pair, "log") as engine:
        engine.obey(pair.order(3.0, "second"))
        texts = ProbeTexts(prompts=QUESTIONS[:2], answers=tuple(answer.output for answer in fresh[0.5][:2]))
        (pair.folder / "own.json").write_bytes(canonical_json(texts))
        probe = {"own_answers": str(pair.folder / "own.json"), "probe": str(pair.folder / "probe.json")}
        engine.obey(pair.order(0.5, "third").model_copy(update=probe))
    assert pair.answers("second") == fresh[3.0]
    assert pair.answers("third") == fresh[0.5]
    found = Probe.model_validate_json((pair.folder / "probe.json").read_bytes())
    assert found.nonfinite == 0 and found.log_probability is not None and found.log_probability < 0
