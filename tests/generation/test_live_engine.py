"""Real vLLM whose weights are replaced: killed on the way, and probed.

That it answers as a fresh engine does, for each architecture, is in tests/zoo/test_reloads.py.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tasks.core.errors import RetryableError
from tasks.core.values import canonical_json
from tasks.generation.live_orders import Probe, ProbeTexts
from tasks.generation.live_session import LiveEngine, live_engine
from tests.zoo.engine_pair import QUESTIONS, EnginePair, family_pair

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> EnginePair:
    return family_pair(tmp_path_factory.mktemp("pair"), "zephyr-7b-beta")


@contextmanager
def _live(pair: EnginePair, log: str) -> Iterator[LiveEngine]:
    job = pair.job(pair.aligned.folder(), log)
    with live_engine(job, pair=pair.recipe(0), sft=pair.sft.folder(), advance=lambda _: None) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine(pair: EnginePair) -> Iterator[LiveEngine]:
    """The engine of every test; one that kills its engine takes another before."""
    with _live(pair, "log") as engine:
        yield engine


def test_a_killed_engine_costs_the_batch_in_flight(pair: EnginePair, request: pytest.FixtureRequest) -> None:
    """kill -9 after two of three batches; the next engine does the third, and rounds grow a journal."""
    with _live(pair, "log of the killed") as killed:
        killed.obey(pair.order(0.7, "killed", stop=8))
        assert killed.pid
        os.kill(killed.pid, signal.SIGKILL)
        with pytest.raises(RetryableError, match="signal 9"):
            killed.obey(pair.order(0.7, "killed"))
    before = (pair.folder / "killed" / "answers.jsonl").read_bytes()
    engine: LiveEngine = request.getfixturevalue("engine")
    engine.obey(pair.order(0.7, "killed"))
    engine.obey(pair.order(0.7, "whole"))
    after = (pair.folder / "killed" / "answers.jsonl").read_bytes()
    assert after.startswith(before)
    assert pair.answers("killed") == pair.answers("whole")


def test_the_probe_measures_the_aligned_models_own_answers(pair: EnginePair, engine: LiveEngine) -> None:
    """Far along the update its own answers become unlikely to it; a finished probe needs no engine's work."""
    texts = pair.folder / "own.json"
    engine.obey(pair.order(0.0, "zero", stop=4))
    answers = tuple(answer.output for answer in pair.answers("zero"))
    texts.write_bytes(canonical_json(ProbeTexts(prompts=QUESTIONS[:4], answers=answers)))
    for alpha in (0.0, 0.2, 30.0):
        order = pair.order(alpha, f"probe-{alpha:g}", stop=0)
        probe = str(pair.folder / f"probe-{alpha:g}.json")
        engine.obey(order.model_copy(update={"own_answers": str(texts), "probe": probe}))
    near, middle, far = (
        Probe.model_validate_json((pair.folder / f"probe-{alpha:g}.json").read_bytes())
        for alpha in (0.0, 0.2, 30.0)
    )
    assert near.log_probability is not None and near.log_probability < 0
    assert middle.log_probability is not None and middle.log_probability != near.log_probability
    assert far.damaged or (far.log_probability or 0) < near.log_probability
    assert near.nonfinite == 0
