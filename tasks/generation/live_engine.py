"""The live engine's process: one vLLM, whose weights become θ(α) at one α after another.

Orders come as lines on the standard input.

Weights are always computed from both parents, never on top of the last α (ten steps of bf16
equal one in a sixth of the elements), and go tensor by tensor into the running model, by each of its
workers (`tasks.generation.theta_worker`). Whether a reload is right depends on the architecture, so the
engine proves it on its own model before the first order: a few answers as loaded, again after θ(1) and
θ(0), which has the same bytes.

Or no weights are replaced, and orders name adapters to answer with (`tasks.generation.adapter_serving`).
Then the engine proves that it gives the same answers twice.
"""

import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tasks.core.errors import ExpoError
from tasks.core.values import canonical_json
from tasks.generation.adapter_serving import UnservedAdapterError, unserved_is_an_error
from tasks.generation.answer_journal import Answer, Header
from tasks.generation.answers import write_whole
from tasks.generation.engine import load_tokenizer, prepare_environment
from tasks.generation.live_orders import LiveOrder, LiveReply, LiveSetup, Probe, ProbeTexts
from tasks.generation.order_loop import Replies, serve_orders
from tasks.generation.prompts import render_prompts
from tasks.generation.questions import read_questions
from tasks.generation.rounds import Rank, Request, answer_batches
from tasks.generation.theta_worker import EXTENSION, ThetaOrder, nonfinite_of
from tasks.generation.vllm_model import VllmModel
from tasks.weights.recipe import Recipe

__all__ = ["LiveModel", "main"]

CHECKED_PROMPTS = 4


class LiveModel:
    """A model in vLLM whose weights can be replaced."""

    def __init__(self, setup: LiveSetup, on_cpu: bool) -> None:
        """Loads it, with the weights of the setup's model.

        Raises:
            UnservedAdapterError: vLLM does not compute with all of the setup's adapter.
            ExpoError: as an engine's job.
        """
        job = setup.job
        self._job = job
        self._aligned, self._sft = setup.aligned or job.model, setup.sft
        self._pair = setup.pair
        self._questions = read_questions(Path(job.instructions), job.form)
        tokenizer = load_tokenizer(job)
        self._prompts = render_prompts(
            tokenizer, [question.turns[0] for question in self._questions], job.settings
        )
        self._model = VllmModel(
            job,
            tokenizer,
            self._prompts,
            on_cpu,
            worker_extension=EXTENSION if setup.sft else "",
            adapter=Path(setup.adapter) if setup.adapter else None,
        )
        self._weights: str | None = None  # the fingerprint of the recipe in the engine
        self._loaded = (0, 0.0)

    @property
    def has_lost_a_worker(self) -> bool:
        """Whether a worker process of the model has ended."""
        return self._model.has_lost_a_worker

    def require_served(self) -> None:
        """Answers a few prompts with the setup's adapter, and again.

        Raises:
            UnservedAdapterError: vLLM cannot, or the answers are others the second time.
        """
        with unserved_is_an_error(unless=lambda: self.has_lost_a_worker):
            repeatable = self._sample() == self._sample()
        if not repeatable:
            raise UnservedAdapterError("vLLM's kernels give this adapter's answers otherwise each time")

    def reloads_rightly(self) -> bool:
        """Whether answers after θ(1) and then θ(0) are those of the model as it was loaded."""
        assert self._pair is not None
        before = self._sample()
        for alpha in (1.0, 0.0):
            self._reload(self._pair.model_copy(update={"alpha": alpha, "module_alphas": ()}))
        return self._sample() == before

    def obey(self, order: LiveOrder, reply: Replies) -> None:
        """Makes the probe and the answers that are not there yet."""
        if order.probe and order.own_answers and not Path(order.probe).is_file():
            self._set(order)
            found = self._probe(Path(order.own_answers))
            if order.recipe is None:
                found = found.model_copy(update={"nonfinite": order.nonfinite})
            write_whole(Path(order.probe), canonical_json(found))
        if order.stop:
            self._answer(order, Path(order.folder), reply)

    def _answer(self, order: LiveOrder, folder: Path, reply: Replies) -> None:
        import vllm

        def load() -> VllmModel:
            self._set(order)
            return self._model

        header = Header(
            job=order.fingerprint,
            engine=f"vllm {vllm.__version__}",
            chat_template_sha256=sha256(self._prompts.template.encode()).hexdigest(),
            stop_token_ids=self._prompts.stop_token_ids,
        )
        questions = read_questions(Path(order.prompts), self._job.form)[: order.stop]
        answer_batches(folder, header, questions, self._job.settings, Rank(), load, reply.progress)

    def _probe(self, own_answers: Path) -> Probe:
        texts = ProbeTexts.model_validate_json(own_answers.read_bytes())
        found = self._model.mean_log_probability(texts.prompts, texts.answers)
        damaged = found == float("-inf")
        nonfinite, seconds = self._loaded
        return Probe(
            nonfinite=nonfinite,
            log_probability=None if damaged else found,
            damaged=damaged,
            seconds=seconds,
        )

    def _set(self, order: LiveOrder) -> None:
        if order.adapter is not None:
            started = time.monotonic()
            self._model.use_adapter(Path(order.adapter))
            self._loaded = (0, time.monotonic() - started)
        elif order.recipe is not None and order.recipe.fingerprint != self._weights:
            self._reload(order.recipe)

    def _reload(self, recipe: Recipe) -> None:
        assert self._sft is not None
        started = time.monotonic()
        order = ThetaOrder(aligned=self._aligned, sft=self._sft, recipe=recipe)
        self._weights = None  # until all of it is there
        nonfinite = nonfinite_of(self._model.reload(canonical_json(order).decode()))
        self._weights = recipe.fingerprint
        self._loaded = (nonfinite, time.monotonic() - started)

    def _sample(self) -> tuple[Answer, ...]:
        sampling = self._job.settings.sampling
        requests = [
            Request(chat=(question.turns[0],), temperature=sampling.temperature, seed=sampling.seed + number)
            for number, question in enumerate(self._questions[:CHECKED_PROMPTS])
        ]
        return self._model.answer(requests, lambda _: None)


def main(path: str, replies: int) -> int:
    """Takes orders until the standard input ends; the exit status."""
    return serve_orders(path, replies, _start)


def _start(setup: LiveSetup, replies: Replies) -> Callable[[str], None]:
    try:
        model = LiveModel(setup, prepare_environment())
        if setup.adapter:
            model.require_served()
    except UnservedAdapterError as error:
        replies.send(LiveReply(kind="unfit", message=str(error)))
        raise
    fit = setup.sft is None or _is_fit(model)
    replies.send(LiveReply(kind="ready" if fit else "unfit"))
    return lambda line: model.obey(LiveOrder.model_validate_json(line), replies)


def _is_fit(model: LiveModel) -> bool:
    """A reload that vLLM refuses is one that is not right: whatever it raises, the log has it.

    A worker that was killed says nothing about reloads: that ends the engine, as if it was killed itself.
    """
    try:
        return model.reloads_rightly()
    except ExpoError:
        raise
    except Exception:
        if model.has_lost_a_worker:
            raise
        sys.excepthook(*sys.exc_info())
        return False
