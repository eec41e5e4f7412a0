"""vLLM with a job's model in it. Imported by the engine process alone."""

import math
import os
from collections.abc import Callable, Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.text_files import clean_text
from tasks.generation.adapter_kernels import order_sums
from tasks.generation.adapter_serving import AdapterSlot, adapter_options, unserved_is_an_error
from tasks.generation.answer_journal import Answer
from tasks.generation.answers import is_looping
from tasks.generation.devices import spans_nodes
from tasks.generation.prompts import PromptSet, render, require_room
from tasks.generation.rounds import Request
from tasks.generation.settings import GenerationJob, GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import LLM, CompletionOutput, RequestOutput

    from tasks.generation.forked_workers import ForkedWorkers

__all__ = ["VllmModel"]

# The second turn of a long conversation may leave no room: that is no answer, and counted as cut.
NO_ROOM = Answer(output="", tokens=0, finish_reason="length", looping=False)


class VllmModel:
    """A ChatBackend: the loaded model, its tokenizer, and the job's settings."""

    def __init__(
        self,
        job: GenerationJob,
        tokenizer: "PreTrainedTokenizerBase",
        prompts: PromptSet,
        on_cpu: bool,
        worker_extension: str = "",
        adapter: Path | None = None,
    ) -> None:
        """Loads the model, and a LoRA adapter on it if one is given.

        Args:
            worker_extension: the name of a class by which vLLM extends its workers', with the method
                `load_theta` for `reload`.
            adapter: the folder of one; `use_adapter` takes others of its modules and ranks.

        Raises:
            InputError: a first turn leaves no room for an answer.
            UnservedAdapterError: vLLM does not compute with all of the adapter.
        """
        self._settings, self._tokenizer, self._prompts = job.settings, tokenizer, prompts
        if adapter is None:
            self._llm = _load(job, on_cpu, worker_extension)
        else:
            with unserved_is_an_error():
                if not on_cpu:
                    order_sums(Path(job.output) / "kernels")
                self._llm = _load(job, on_cpu, worker_extension, **adapter_options(adapter))
        self._workers = active_children()
        self._adapters = AdapterSlot(self._llm)
        if adapter is not None:
            self.use_adapter(adapter)
        self._room: int = self._llm.model_config.max_model_len
        require_room(prompts.token_ids, self._room)

    @property
    def is_in_process(self) -> bool:
        """Whether the model has no worker processes."""
        return self._settings.workers == 1

    @property
    def has_lost_a_worker(self) -> bool:
        """Whether a worker process has ended; vLLM ends the others then."""
        return not all(worker.is_alive() for worker in self._workers)

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None]) -> tuple[Answer, ...]:
        """The answers to one batch."""
        token_ids = [render(self._tokenizer, self._prompts.template, request.chat) for request in requests]
        fitting = [number for number, ids in enumerate(token_ids) if len(ids) < self._room]
        on_progress(len(requests) - len(fitting))
        answers = self._generate(
            [token_ids[number] for number in fitting], [requests[number] for number in fitting], on_progress
        )
        made = dict(zip(fitting, answers, strict=True))
        return tuple(made.get(number, NO_ROOM) for number in range(len(requests)))

    def use_adapter(self, folder: Path) -> None:
        """Answers are the adapter's from here on; it has the modules and ranks of the one at the start."""
        self._adapters.load(folder)

    def reload(self, order: str) -> list[str]:
        """Has every worker replace its weights, and empties the prefix cache; what the workers reply."""
        replies: list[str] = self._llm.collective_rpc("load_theta", args=(order,))
        self._llm.reset_prefix_cache()
        return replies

    def mean_log_probability(self, questions: Sequence[str], answers: Sequence[str]) -> float | None:
        """Of the answers' tokens behind their questions, in nats; None if they have none, -inf for NaN."""
        from vllm import SamplingParams, TokensPrompt

        values: list[float] = []
        sampling = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
        prompts = [render(self._tokenizer, self._prompts.template, (question,)) for question in questions]
        said: list[list[int]] = [
            self._tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers
        ]
        whole = [[*ids, *more][: self._room - 1] for ids, more in zip(prompts, said, strict=True)]
        outputs = self._llm.generate(
            [TokensPrompt(prompt_token_ids=ids) for ids in whole],
            sampling,
            use_tqdm=False,
            lora_request=self._adapters.request,
        )
        for ids, prompt, output in zip(whole, prompts, outputs, strict=True):
            of_tokens = output.prompt_logprobs or []
            for token, known in [*zip(ids, of_tokens, strict=False)][len(prompt) :]:
                values.append(known[token].logprob if known else math.nan)
        if not values:
            return None
        return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else -math.inf

    def _generate(
        self, token_ids: list[tuple[int, ...]], requests: list[Request], on_progress: Callable[[int], None]
    ) -> list[Answer]:
        from vllm import SamplingParams, TokensPrompt

        usual = self._settings.sampling.model_dump(exclude={"seed", "temperature"})
        stop = [*self._prompts.stop_token_ids]
        self._llm.enqueue(
            [TokensPrompt(prompt_token_ids=[*ids]) for ids in token_ids],
            [
                SamplingParams(
                    **usual, temperature=request.temperature, seed=request.seed, stop_token_ids=[*stop]
                )
                for request in requests
            ],
            use_tqdm=False,
            lora_request=self._adapters.request,
        )
        finished: list[RequestOutput] = []
        while self._llm.llm_engine.has_unfinished_requests():
            ended = [output for output in self._llm.llm_engine.step() if output.finished]
            finished += ended
            on_progress(len(ended))
        # Requests get rising numbers as they are enqueued; they end in any order.
        in_order = sorted(finished, key=lambda out: int(out.request_id))
        return [_as_answer(out.outputs[0]) for out in in_order]


def _load(job: GenerationJob, on_cpu: bool, worker_extension: str, **more: Any) -> "LLM":  # noqa: ANN401 - vLLM's own
    from vllm import LLM

    settings = job.settings
    return LLM(
        job.model,
        dtype=settings.dtype,
        seed=settings.sampling.seed,
        max_model_len=settings.max_model_len,
        tensor_parallel_size=settings.tensor_parallel_size,
        pipeline_parallel_size=settings.pipeline_parallel_size,
        distributed_executor_backend=_executor(settings, on_cpu),
        worker_extension_cls=worker_extension,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        trust_remote_code=settings.trust_remote_code,
        enforce_eager=on_cpu,
        # A prompt in pieces makes vLLM rewind the request's random stream, which torch refuses on a CPU.
        enable_chunked_prefill=not on_cpu,
        # A restart must compute each prompt as the first run did, not find half of it cached.
        enable_prefix_caching=False,
        **more,
    )


def _executor(settings: GenerationSettings, on_cpu: bool) -> "str | type[ForkedWorkers] | None":
    """Which of vLLM's means starts the workers; None: what it takes by itself."""
    if spans_nodes():
        return "ray"
    unbound = os.environ.get("OMP_NUM_THREADS"), os.environ.get("VLLM_CPU_OMP_THREADS_BIND")
    if not on_cpu or settings.workers == 1 or unbound != ("1", "nobind"):
        return None
    from tasks.generation.forked_workers import ForkedWorkers

    return ForkedWorkers  # its name alone would not do for a pipeline


def _as_answer(completion: "CompletionOutput") -> Answer:
    return Answer(
        output=clean_text(completion.text),
        tokens=len(completion.token_ids),
        finish_reason=str(completion.finish_reason),
        looping=is_looping(completion.token_ids),
    )
