"""The live engine's process: one vLLM, whose weights become θ(α) at one α after another.

Orders come as lines on the standard input.

Weights are always computed from both parents, never on top of the last α (ten steps of bf16
equal one in a sixth of the elements), and go tensor by tensor into the running model. Whether a
reload is right depends on the architecture, so the engine proves it on its own model before the
first order: a few answers as loaded, again after θ(1) and θ(0), which has the same bytes.
"""

import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import ExpoError
from tasks.core.values import canonical_json
from tasks.generation.answer_journal import Answer, Header
from tasks.generation.answers import write_whole
from tasks.generation.engine import load_tokenizer, prepare_environment
from tasks.generation.live_orders import LiveOrder, LiveReply, LiveSetup, Probe, ProbeTexts
from tasks.generation.order_loop import Replies, serve_orders
from tasks.generation.prompts import render_prompts
from tasks.generation.questions import read_questions
from tasks.generation.rounds import Rank, Request, answer_batches
from tasks.generation.vllm_model import VllmModel
from tasks.stores.folder_source import FolderSource
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.weights.theta import ThetaStream

__all__ = ["LiveModel", "main"]

CHECKED_PROMPTS = 4


class LiveModel:
    """A model in vLLM whose weights can be replaced."""

    def __init__(self, setup: LiveSetup, on_cpu: bool) -> None:
        """Loads it, with the weights of the setup's model.

        Raises:
            ExpoError: as an engine's job.
        """
        job = setup.job
        self._job = job
        self._aligned = FolderSource(Path(setup.aligned or job.model))
        self._sft = FolderSource(Path(setup.sft)) if setup.sft else None
        self._pair = setup.pair
        self._questions = read_questions(Path(job.instructions), job.form)
        tokenizer = load_tokenizer(job)
        self._prompts = render_prompts(
            tokenizer, [question.turns[0] for question in self._questions], job.settings
        )
        self._model = VllmModel(job, tokenizer, self._prompts, on_cpu)
        self._weights: str | None = None  # the fingerprint of the recipe in the engine
        self._loaded = (0, 0.0)

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
            self._set(order.recipe)
            found = self._probe(Path(order.own_answers))
            if order.recipe is None:
                found = found.model_copy(update={"nonfinite": order.nonfinite})
            write_whole(Path(order.probe), canonical_json(found))
        if order.stop:
            self._answer(order, Path(order.folder), reply)

    def _answer(self, order: LiveOrder, folder: Path, reply: Replies) -> None:
        import vllm

        def load() -> VllmModel:
            self._set(order.recipe)
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

    def _set(self, recipe: Recipe | None) -> None:
        if recipe is not None and recipe.fingerprint != self._weights:
            self._reload(recipe)

    def _reload(self, recipe: Recipe) -> None:
        assert self._sft is not None
        # Only once vLLM is up: on a CPU it looks through every imported module as it starts, and
        # fails on llvmlite, which the compiled loops need (0.32.0).
        from tasks.weights.theta import ThetaStream

        started = time.monotonic()
        stream = ThetaStream(make_plan(recipe, self._aligned, self._sft), self._aligned, self._sft)
        self._weights = None  # until all of it is there
        self._model.reload(_named_tensors(stream))
        self._weights = recipe.fingerprint
        self._loaded = (stream.nonfinite, time.monotonic() - started)

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
    model = LiveModel(setup, prepare_environment())
    fit = setup.sft is None or _is_fit(model)
    replies.send(LiveReply(kind="ready" if fit else "unfit"))
    return lambda line: model.obey(LiveOrder.model_validate_json(line), replies)


def _is_fit(model: LiveModel) -> bool:
    """A reload that vLLM refuses is one that is not right: whatever it raises, the log has it."""
    try:
        return model.reloads_rightly()
    except ExpoError:
        raise
    except Exception:
        sys.excepthook(*sys.exc_info())
        return False


def _named_tensors(stream: "ThetaStream") -> "Iterator[tuple[str, Tensor]]":
    import torch

    from tasks.weights.formula import DTYPES

    for tensor in stream:
        yield tensor.name, torch.from_numpy(tensor.data).view(DTYPES[tensor.dtype]).reshape(tensor.shape)
