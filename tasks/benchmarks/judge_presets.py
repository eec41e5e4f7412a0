"""Judges by name: the model, how it is asked, what it costs.

    find_preset("gpt-4.1")                             a judge of the API
    find_preset("qwen3-32b")                           open weights, served by the run itself
    find_preset("weighted_alpaca_eval_gpt4_turbo")     an annotator of alpaca_eval, with its own model

A preset is where a judge starts: each of its settings may be replaced. Prices are US dollars for a million
prompt and completion tokens, as OpenAI's page of prices had them on the date beside them; they change.
"""

from tasks.benchmarks.alpaca_annotators import find_annotator
from tasks.benchmarks.judge_config import PUBLISHED_ANNOTATOR, Judge, JudgeSampling, ServeConfig
from tasks.core.errors import InputError

__all__ = ["WRITTEN_ANNOTATOR", "find_preset", "preset_names", "thinking", "thinking_presets"]

# model: (prompt, completion, date)
PRICES = {
    "gpt-4.1": (2.0, 8.0, "2026-03"),
    "gpt-4.1-mini": (0.4, 1.6, "2026-03"),
    "gpt-4o": (2.5, 10.0, "2026-03"),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6, "2026-03"),
    "gpt-5": (1.25, 10.0, "2026-03"),
    "gpt-5-mini": (0.25, 2.0, "2026-03"),
    "o4-mini": (1.1, 4.4, "2026-03"),
    "gpt-4-1106-preview": (10.0, 30.0, "2023-11"),
    "gpt-4": (30.0, 60.0, "2023-11"),
}
WRITTEN_ANNOTATOR = "alpaca_eval_gpt4"  # AlpacaEval 1's: a ranking that is written out
THOUGHT_TOKENS = 16_000  # of a thought and a reply together; Arena-Hard's limit of a written verdict

# as Qwen recommends for Qwen3's thinking mode, which greedy decoding makes repeat itself
QWEN3 = JudgeSampling(max_tokens=THOUGHT_TOKENS, temperature=0.6, top_p=0.95)


def thinking(
    model: str,
    sampling: JudgeSampling | None = None,
    *,
    serve: ServeConfig | None = None,
    effort: str | None = None,
) -> Judge:
    """A judge that thinks before it answers, and gives no log-probabilities: its verdicts are written.

    sampling  None: as OpenAI's reasoning models are asked, which refuse a temperature and `max_tokens`
    effort    the reasoning effort to ask for
    """
    drawn = sampling or JudgeSampling(
        max_tokens=THOUGHT_TOKENS, limit_name="max_completion_tokens", reasoning_effort=effort
    )
    return Judge(
        model=model,
        serve=serve,
        annotator=WRITTEN_ANNOTATOR,
        pairwise_sampling=drawn,
        grading_sampling=drawn,
        verdict_sampling=drawn,
    )


def preset_names() -> tuple[str, ...]:
    """The presets of this project; every annotator of alpaca_eval that can be used here is one besides."""
    return tuple(_presets())


def thinking_presets() -> frozenset[str]:
    """Those whose model thinks before it answers: their samplings are the model's, not an annotator's."""
    judges = _presets().items()
    return frozenset(name for name, judge in judges if judge.annotator == WRITTEN_ANNOTATOR)


def find_preset(name: str) -> Judge:
    """A judge by its preset's name, with its price where that is known.

    Raises:
        InputError: there is none; the message names those that there are.
    """
    judge = _presets().get(name)
    if judge is None:
        try:
            annotator = find_annotator(name)
        except InputError as error:
            raise InputError(
                f"no judge preset {name!r}; there are {', '.join(preset_names())}, and the annotators of "
                f"alpaca_eval, as {PUBLISHED_ANNOTATOR} ({error})"
            ) from None
        judge = Judge(model=annotator.model, annotator=name, pairwise_sampling=annotator.sampling)
    price = PRICES.get(judge.model)
    if price is None:
        return judge
    return judge.model_copy(update={"dollars_per_million": price[:2], "price_date": price[2]})


def _presets() -> dict[str, Judge]:
    """With log-probabilities, or thinking; the last is served by the run, with vLLM."""
    plain = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini-2024-07-18")
    return (
        {model: Judge(model=model) for model in plain}
        | {model: thinking(model) for model in ("gpt-5", "gpt-5-mini", "o4-mini")}
        | {"qwen3-32b": thinking("Qwen3-32B", QWEN3, serve=ServeConfig(checkpoint="Qwen/Qwen3-32B"))}
    )
