"""The settings of a run, alike for all of its families."""

from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.own_prompts import is_own
from tasks.benchmarks.registry import BenchmarkName
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.arm import ArmName
from tasks.comparison.decoding import GenerationConfig
from tasks.comparison.guards import GuardName
from tasks.core.values import Value
from tasks.search.search_config import SearchConfig
from tasks.weights.inputs import InputMode

__all__ = ["Alpha", "Rejudge", "RunConfig"]

# A list of one word: Prefect's form shows a constant, and does not send it.
SearchWord = Annotated[
    Literal["search"], WithJsonSchema({"type": "string", "enum": ["search"], "title": "search"})
]
Alpha = float | SearchWord

Rejudge = Annotated[
    Literal["failed"], WithJsonSchema({"type": "string", "enum": ["failed"], "title": "failed"})
]


class RunConfig(Value):
    """The settings of a run, alike for all of its families.

    alpha       one α for all, in place of each family's own; "search": see `search`
    curve       more values of α, each against the original on held-out instructions
    arms        "original", "expo", or both; only both make a verdict
    benchmarks  none of them, and no prompts, extrapolates only
    prompts     a file of one's own prompts, on which the judge compares + ExPO with the original
    guards      benchmarks that a rule verifies, as `ifeval`, `ifeval=3` or `gsm8k:200=5`: what the gain
                costs, and how many points may be lost (see `tasks.comparison.guards`)
    judge       who judges the answers; a family that brings its own judge keeps it
    store       where artefacts go: a folder or s3://bucket/prefix; None: $EXPO_STORE
    inputs      "stream" reads the checkpoints' weights by ranges as they are needed: no disk for them,
                and no sha256 of a file that is not read whole. An engine still downloads its model
    dequantize  whether fp8 weights are multiplied by their scales; both arms are bf16 models then, and
                α cannot be searched for
    publish_to  where on the Hugging Face Hub the models go, privately, with a card: a namespace, or
                org/name for a single family. None: nothing is uploaded
    rejudge     "failed" asks once more for the items that finished judgings have no judgment of
    generation  how the answers are made
    search      how α is searched for where `alpha` is "search": what scores, the candidates, the
                rails. None: the run's judge scores, by its preference over α = 0
    """

    alpha: Alpha | None = None
    curve: tuple[float, ...] = ()
    arms: tuple[ArmName, ...] = ("original", "expo")
    benchmarks: tuple[BenchmarkName, ...] = (DEFAULT,)
    prompts: str | None = Field(default=None, exclude_if=lambda path: path is None)
    guards: tuple[GuardName, ...] = ()
    judge: Judge | None = None
    store: str | None = None
    inputs: InputMode = "download"
    dequantize: bool = False
    publish_to: str | None = None
    rejudge: Rejudge | None = None
    generation: GenerationConfig = GenerationConfig()
    search: SearchConfig | None = None

    @model_validator(mode="after")
    def _searched_for(self) -> Self:
        if self.search is not None and self.alpha != "search":
            raise ValueError('`search` says how α is searched for: set alpha to "search", or leave it out')
        own = self.prompts is not None or any(map(is_own, self.benchmarks))
        if own and set(self.arms) != {"original", "expo"}:
            raise ValueError("`prompts` compares the two arms: leave both in `arms`")
        return self
