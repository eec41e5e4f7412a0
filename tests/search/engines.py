"""A stand-in for vLLM: an engine that journals answers which depend on α, and says what it was asked."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import RetryableError
from tasks.core.values import canonical_json
from tasks.generation.answer_journal import Answer, Header
from tasks.generation.answers import write_whole
from tasks.generation.live_orders import LiveOrder, Probe
from tasks.generation.live_session import UnfitError
from tasks.generation.questions import read_questions
from tasks.generation.rounds import Rank, Request, answer_batches
from tasks.generation.settings import GenerationJob
from tasks.weights.manifest import read_manifest
from tasks.weights.recipe import Recipe

__all__ = ["FakeVllm"]


class FakeVllm:
    """Engines of this test: `started` has the model folders, `orders` what they were asked.

    unfit     whether new weights in a running engine are refused
    unserved  whether an adapter on its base model is refused
    die_after answers after which every engine dies as if it was killed; None: never
    """

    def __init__(self, *, unfit: bool = False, unserved: bool = False, die_after: int | None = None) -> None:
        self.unfit, self.unserved, self.die_after = unfit, unserved, die_after
        self.started: list[str] = []
        self.merging: list[Path | None] = []  # the adapters from which θ(α) is computed
        self.serving: list[Path] = []  # the adapters that engines started with
        self.orders: list[tuple[float | None, int]] = []
        self.answered = 0
        self.recipe: Recipe | None = None  # of the last order

    def text(self, alpha: float, prompt: str, seed: int | None) -> str:
        """An answer."""
        return f"{alpha}: {prompt} ({seed})"

    @contextmanager
    def live_engine(
        self,
        job: GenerationJob,
        *,
        pair: Recipe | None,
        sft: Path | None,
        advance: Callable[[int], None],
        aligned: Path | None = None,
        adapter: Path | None = None,
        python: str | None = None,
    ) -> Iterator["_Engine"]:
        """In the place of `tasks.generation.live_session.live_engine`."""
        engines = os.environ.get("EXPO_ENGINE_PYTHON", sys.executable)
        assert (pair is None) == (sft is None) and python in (None, engines)
        if self.unfit and pair is not None:
            raise UnfitError("no new weights")
        if adapter is not None:
            if self.unserved:
                raise UnfitError("no place for o_proj")
            self.serving.append(adapter)
        self.started.append(job.model)
        self.merging.append(aligned)
        yield _Engine(self, job, advance)


def _alpha_of(model: Path) -> float:
    """Of a written model; 0 of a parent."""
    manifest = model / "manifest.json"
    return read_manifest(manifest.read_bytes()).recipe.alpha if manifest.is_file() else 0.0


class _Engine:
    def __init__(self, vllm: FakeVllm, job: GenerationJob, advance: Callable[[int], None]) -> None:
        self._vllm, self._job, self._advance = vllm, job, advance
        self.pid = os.getpid()

    def obey(self, order: LiveOrder) -> None:
        alpha = order.recipe.alpha if order.recipe else None
        if order.adapter is not None:
            assert order.recipe is None and self._vllm.serving
            alpha = _alpha_of(Path(order.adapter))
        self._vllm.orders.append((alpha, order.stop))
        self._vllm.recipe = order.recipe
        if order.probe and not Path(order.probe).exists():
            found = Probe(nonfinite=order.nonfinite, log_probability=-0.5 - (alpha or 0) / 10, seconds=0.1)
            write_whole(Path(order.probe), canonical_json(found))
        if order.stop:
            questions = read_questions(Path(order.prompts), "instructions")[: order.stop]
            header = Header(job=order.fingerprint, engine="fake 1.0")
            answer_batches(
                Path(order.folder),
                header,
                questions,
                self._job.settings,
                Rank(),
                self._backend,
                self._advance,
            )

    def _backend(self) -> "_Engine":
        return self

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None]) -> tuple[Answer, ...]:
        vllm = self._vllm
        if vllm.die_after is not None and vllm.answered + len(requests) > vllm.die_after:
            raise RetryableError("the engine ended by signal 9")
        vllm.answered += len(requests)
        on_progress(len(requests))
        return tuple(self._answer(request) for request in requests)

    def _answer(self, request: Request) -> Answer:
        alpha, _ = self._vllm.orders[-1]
        if alpha is None:
            alpha = _alpha_of(Path(self._job.model))
        text = self._vllm.text(alpha, request.chat[-1], request.seed)
        return Answer(output=text, tokens=len(text), finish_reason="stop", looping=False)
