"""Generations of hand-made answers in a store, and the stages judge and verdict on them."""

import json
from typing import Any, NamedTuple

from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.comparison.arm import Arm, ArmName
from tasks.comparison.instructions import Instructions
from tasks.comparison.results import Generation, Judgments
from tasks.core.families import Family, Published, find_family
from tasks.generation.answers import answers_file
from tasks.generation.settings import GenerationSettings, GenerationSummary
from tasks.judge import judge as stage
from tasks.reports.run_report import FamilyReport
from tasks.reports.stored import FAMILY_REPORT
from tasks.stores.artefact import Artefact, Store
from tasks.stores.disk import sha256_of
from tasks.stores.source import Checkpoint
from tasks.weights.recipe import Recipe
from tests.benchmarks.answers import write_outputs

RECIPE = Recipe(
    aligned=Checkpoint(uri="org/aligned", commit="a" * 40),
    sft=Checkpoint(uri="org/sft", commit="b" * 40),
    alpha=0.3,
)
PUBLISHED = Published(win_rate=(10, 11), lc_win_rate=(10, 11), mt_bench=(7, 7.1))


class Run(NamedTuple):
    """One store, its judge, and 30 instructions with short reference outputs."""

    store: str
    judge: Judge
    asked: Instructions

    def generation(self, name: ArmName, outputs: list[str], benchmark: str, seed: int = 42) -> Generation:
        """A finished generation with these outputs; MT-Bench's, question by question, in pairs of turns."""
        artefact = Store(self.store).artefact("generations", f"{name}-{benchmark}-{seed}")
        part = artefact.scratch() / "answers"
        if benchmark == "alpaca_eval":
            write_outputs(part, outputs, name)
        else:
            part.write_text("".join(_line(i, outputs, name) for i in range(len(outputs) // 2)))
        summary = summary_of(outputs, sha256_of(part))
        artefact.put(part, answers_file(benchmark, find_benchmark(benchmark).form))
        return Generation(
            arm=Arm(name=name, recipe=RECIPE),
            uri=artefact.uri,
            fingerprint=summary.answers_sha256,
            settings=GenerationSettings(),
            summary=summary,
            benchmark=benchmark,
        )

    def judged(self, name: ArmName, outputs: list[str], rejudge: bool = False, seed: int = 42) -> Judgments:
        generation = self.generation(name, outputs, "alpaca_eval", seed)
        return stage.fn(generation, self.asked, self.judge, self.store, rejudge)


def _line(index: int, outputs: list[str], name: str) -> str:
    turns = outputs[2 * index : 2 * index + 2]
    return json.dumps({"question_id": 81 + index, "model_id": name, "choices": [{"turns": turns}]}) + "\n"


def summary_of(outputs: list[str], digest: str) -> GenerationSummary:
    return GenerationSummary(
        job="job",
        count=len(outputs),
        empty=0,
        truncated=3,
        without_end=3,
        repeating=0,
        mean_characters=sum(map(len, outputs)) / len(outputs),
        mean_tokens=5,
        seconds=1,
        tokens_per_second=5,
        engine="hand-made",
        chat_template_sha256="c" * 64,
        answers_sha256=digest,
        stop_token_ids=(),
        first_prompt_ids=(1,),
        finish_reasons={},
    )


def report_at(uri: str) -> FamilyReport:
    return FamilyReport.model_validate_json(Artefact(uri).read(FAMILY_REPORT) or b"")


def family_with_figures(**changes: Any) -> Family:  # noqa: ANN401
    return find_family("zephyr-7b-beta").model_copy(
        update={"name": "mine", "published": PUBLISHED, **changes}
    )
