"""A reward model as the objective of a search: its raw scores, from vLLM in a process of its own.

    WORK/rewards.jsonl      {"scores": {"5f0e…": -1.25, …}}      one line for each order, once it is scored
    WORK/engine.log         the process's log

The key is the sha256 of prompt and answer, so what was scored before a kill is not scored again.
The process starts with the first answers that have no score yet.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from tasks.benchmarks.budget import Usage
from tasks.core.append_file import AppendFile
from tasks.core.errors import InputError
from tasks.core.text_files import parse_json, read_text
from tasks.core.values import Value, canonical_json
from tasks.generation.live_session import LiveEngine, live_engine
from tasks.generation.settings import GenerationJob, GenerationSettings
from tasks.search.reward_engine import RewardOrder, RewardReply
from tasks.search.scoring import Answered
from tasks.stores.open import open_source

__all__ = ["RewardModel", "RewardObjective", "check_classifier"]

MODULE = "tasks.search.reward_engine"
JOURNAL = "rewards.jsonl"
ORDER = 128  # chats in one order: what a kill costs at most
LINE: TypeAdapter[dict[str, dict[str, float | None]]] = TypeAdapter(dict[str, dict[str, float | None]])

Dtype = Literal["auto", "bfloat16", "float16", "float32"]


class RewardModel(Value):
    """A sequence classifier with one label, which vLLM serves while the search runs.

    checkpoint              a folder, a hub id or s3://…
    max_model_len           tokens of prompt and answer together; None: the checkpoint's own
    tensor_parallel_size    GPUs that share it
    gpu_memory_utilization  share of a GPU's memory that it takes, beside the model that answers
    """

    checkpoint: str = Field(min_length=1)
    max_model_len: int | None = Field(default=None, gt=0)
    tensor_parallel_size: int = Field(default=1, gt=0)
    gpu_memory_utilization: float = Field(default=0.3, gt=0, lt=0.9)

    def identity(self) -> dict[str, str | int | None]:
        """What decides its scores.

        Raises:
            InputError, PermanentError, RetryableError: the checkpoint cannot be opened.
        """
        return {"commit": open_source(self.checkpoint).checkpoint.commit, "room": self.max_model_len}


class RewardObjective:
    """Scores by a reward model; a context that ends its process."""

    def __init__(
        self,
        model: RewardModel,
        work: Path,
        *,
        advance: Callable[[int], None] = lambda _: None,
        python: str | None = None,
    ) -> None:
        """
        Args:
            advance: takes the number of chats that were scored; what it raises ends the scoring.

        Raises:
            InputError: the checkpoint is no reward model, or another process scores in `work`.
        """
        self._model, self._work = model, work
        self._advance, self._python = advance, python
        self._folder = open_source(model.checkpoint).folder()
        self._dtype = check_classifier(self._folder)
        self._stack = ExitStack()
        self._engine: LiveEngine | None = None
        work.mkdir(parents=True, exist_ok=True)
        self._file = self._stack.enter_context(
            AppendFile(work / JOURNAL, busy="another process is scoring here")
        )
        self._known: dict[str, float | None] = {}
        for line in self._file.lines:
            self._known.update(_read_line(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def scores(self, alpha: float, answered: Answered) -> list[float]:  # noqa: ARG002 - the protocol's
        """See `Objective`; NaN for a chat that is longer than the model takes.

        Raises:
            RetryableError: the process died; the same call goes on behind its last order.
            ExpoError: whatever the process raises.
        """
        chats = list(zip(answered.prompts, answered.candidate, strict=True))
        keys = [_key(*chat) for chat in chats]
        missing = {key: chat for key, chat in zip(keys, chats, strict=True) if key not in self._known}
        waiting = list(missing)
        for start in range(0, len(waiting), ORDER):
            part = waiting[start : start + ORDER]
            scored = dict(zip(part, self._score([missing[key] for key in part]), strict=True))
            self._file.append(canonical_json({"scores": scored}))
            self._known.update(scored)
            self._advance(len(scored))  # after they are kept: it may raise
        return [math.nan if (score := self._known[key]) is None else score for key in keys]

    def usage(self) -> Usage:
        """Nothing: no judge is asked."""
        return Usage()

    def _score(self, chats: Sequence[tuple[str, str]]) -> tuple[float | None, ...]:
        if self._engine is None:
            self._engine = self._stack.enter_context(
                live_engine(
                    self._job(),
                    pair=None,
                    sft=None,
                    advance=lambda _: None,
                    python=self._python,
                    module=MODULE,
                )
            )
        reply = self._work / "reply.json"
        prompts, answers = zip(*chats, strict=True)
        self._engine.obey(RewardOrder(prompts=prompts, answers=answers, reply=str(reply)))
        return RewardReply.model_validate_json(reply.read_bytes()).scores

    def _job(self) -> GenerationJob:
        return GenerationJob(
            model=str(self._folder),
            instructions="",  # they come with the orders
            output=str(self._work),
            settings=GenerationSettings(dtype=self._dtype, **self._model.model_dump(exclude={"checkpoint"})),
            generator="reward scores",
            benchmark="search",
            form="instructions",
        )


def check_classifier(folder: Path) -> Dtype:
    """The dtype of a reward model's weights, by its config.

    Raises:
        InputError: no sequence classifier, one with several labels, or one without a chat template.
    """
    config: dict[str, Any] = parse_json(read_text(folder / "config.json"), f"{folder}/config.json")
    names = config.get("architectures") or ["none"]
    if not names[0].endswith(("ForSequenceClassification", "ForRewardModel")):
        raise InputError(
            f"{folder}: {names[0]} is no reward model; name a sequence classifier with one label, such as "
            "Skywork/Skywork-Reward-V2-Llama-3.1-8B"
        )
    labels = len(config.get("id2label") or range(config.get("num_labels", 2)))
    if labels != 1:
        raise InputError(f"{folder}: it has {labels} labels; a reward model gives one score (num_labels 1)")
    tokenizer = folder / "tokenizer_config.json"
    own = tokenizer.is_file() and "chat_template" in parse_json(read_text(tokenizer), f"{tokenizer}")
    if not own and not (folder / "chat_template.jinja").is_file():
        raise InputError(
            f"{folder}: no chat template, so nobody knows how it reads a prompt and an answer; put the one "
            "that it was trained with into a copy as chat_template.jinja"
        )
    dtype: Dtype = config.get("dtype") or config.get("torch_dtype") or "auto"
    return dtype


def _key(prompt: str, answer: str) -> str:
    return sha256(canonical_json([prompt, answer])).hexdigest()[:24]


def _read_line(line: bytes) -> dict[str, float | None]:
    """A line's scores; none where it is damaged: these are scored again."""
    try:
        return LINE.validate_json(line).get("scores", {})
    except ValidationError:
        return {}
