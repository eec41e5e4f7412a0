"""The reward model's process: one vLLM that scores answers, as long as a search needs it.

Orders come as lines on the standard input.

A score is the model's logit as it is: vLLM would put a sigmoid on it, in which good answers
differ in the fourth digit. Each chat goes in as token ids, made by the reward model's own
template: no second BOS, no padding, so no padding token for an end token. A chat that is longer
than the model takes has no score; cut short it would be another answer.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import InputError
from tasks.core.values import Value, canonical_json
from tasks.generation.answers import write_whole
from tasks.generation.engine import load_tokenizer, prepare_environment
from tasks.generation.live_orders import LiveReply, LiveSetup
from tasks.generation.order_loop import Replies, serve_orders
from tasks.generation.prompts import render

if TYPE_CHECKING:
    from vllm import LLM

    from tasks.generation.settings import GenerationJob

__all__ = ["RewardOrder", "RewardReply", "RewardVllm", "main"]


class RewardOrder(Value):
    """Answers to score.

    prompts, answers  the two turns of each chat
    reply             where the scores are written
    """

    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    reply: str


class RewardReply(Value):
    """A raw score for each answer, None for a chat that is longer than the model takes, or gives NaN."""

    scores: tuple[float | None, ...]


class RewardVllm:
    """A sequence classifier with one label in vLLM."""

    def __init__(self, job: "GenerationJob", on_cpu: bool) -> None:
        """Loads it.

        Raises:
            InputError: it has no tokenizer or chat template, or gives another number of scores than one.
        """
        self._tokenizer = load_tokenizer(job)
        try:
            self._template: str = self._tokenizer.get_chat_template()
        except ValueError as error:
            raise InputError(f"{job.model}: the reward model has no chat template: {error}") from error
        self._llm = _load(job, on_cpu)
        self._room: int = self._llm.model_config.max_model_len

    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float | None, ...]:
        """The raw scores, in order."""
        from vllm import PoolingParams, TokensPrompt

        chats = [
            render(self._tokenizer, self._template, chat, generation_prompt=False)
            for chat in zip(prompts, answers, strict=True)
        ]
        fitting = [number for number, ids in enumerate(chats) if len(ids) <= self._room]
        outputs = self._llm.classify(
            [TokensPrompt(prompt_token_ids=[*chats[number]]) for number in fitting],
            pooling_params=PoolingParams(use_activation=False),
            use_tqdm=False,
        )
        scores = {number: output.outputs.probs[0] for number, output in zip(fitting, outputs, strict=True)}
        return tuple(
            score if (score := scores.get(number)) is not None and math.isfinite(score) else None
            for number in range(len(chats))
        )


def main(path: str, replies: int) -> int:
    """Takes orders until the standard input ends; the exit status."""
    return serve_orders(path, replies, _start)


def _start(setup: LiveSetup, replies: Replies) -> Callable[[str], None]:
    model = RewardVllm(setup.job, prepare_environment())
    replies.send(LiveReply(kind="ready"))

    def obey(line: str) -> None:
        order = RewardOrder.model_validate_json(line)
        found = RewardReply(scores=model.score(order.prompts, order.answers))
        write_whole(Path(order.reply), canonical_json(found))
        replies.progress(len(order.prompts))

    return obey


def _load(job: "GenerationJob", on_cpu: bool) -> "LLM":
    from vllm import LLM

    settings = job.settings
    return LLM(
        job.model,
        runner="pooling",
        dtype=settings.dtype,  # "auto" would make float16 of float32
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.tensor_parallel_size,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        enforce_eager=on_cpu,
        enable_prefix_caching=False,
    )
