"""The manifests of an arm's artefacts: generations, judgments and anchors."""

from pathlib import Path

from pydantic import Field

from tasks.benchmarks.alpaca_judge import ANNOTATIONS
from tasks.benchmarks.budget import Usage
from tasks.benchmarks.figures import Judged
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.arm import Arm
from tasks.core.values import Value
from tasks.generation.answers import answers_file
from tasks.generation.settings import GenerationSettings, GenerationSummary
from tasks.stats.agreement import Agreement
from tasks.stores.artefact import Artefact

__all__ = ["Anchors", "FinishedJudging", "Generation", "Judgments"]


class Generation(Value):
    """A finished generation: the manifest of its artefact, whose file of answers is whole."""

    arm: Arm
    uri: str
    fingerprint: str
    settings: GenerationSettings
    summary: GenerationSummary
    benchmark: str = DEFAULT

    def path(self) -> Path:
        """The answers on this machine's disk, in the form of the benchmark's questions."""
        artefact = Artefact(self.uri)
        form = find_benchmark(self.benchmark).form
        return artefact.fetch(answers_file(self.benchmark, form), artefact.work_dir())


class FinishedJudging(Value):
    """What is known of every finished judging of one file of answers: of a run's, and of one that was there.

    reference    sha256 of the reference outputs, or of the questions
    fingerprint  of the answers, the reference and the judge
    seconds      that judging took, in the run that finished it
    usage        what was asked of the judge, over all tries
    dollars      what that cost, None where the judge's prices are not given
    n_total      items: instructions, or turns of questions; n_failed: those without a judgment
    """

    reference: str
    judge: Judge
    fingerprint: str
    seconds: float
    usage: Usage
    dollars: float | None
    n_total: int
    n_failed: int


class Judgments(FinishedJudging):
    """All judgments of one generation: the manifest of their artefact.

    median_mass  of judgments that are read from probabilities, see `ArmMetrics`
    """

    generation: Generation
    uri: str
    median_mass: float | None = Field(default=None, exclude_if=lambda mass: mass is None)

    @property
    def benchmark(self) -> str:
        """Whose questions were answered."""
        return self.generation.benchmark

    def path(self) -> Path:
        """The file of judgments on this machine's disk."""
        artefact = Artefact(self.uri)
        return artefact.fetch(find_benchmark(self.benchmark).judgments, artefact.work_dir())

    def judged(self) -> Judged:
        """Answers and judgments on this machine's disk."""
        return Judged(self.generation.path(), self.path())


class Anchors(Value):
    """A judge measured on stored annotations: the manifest of the artefact.

    source     sha256 of the annotations
    occasion   why it was measured again, as a night's date; "" for once and for all
    agreement  with the judge of the annotations
    """

    source: str
    judge: Judge
    occasion: str
    uri: str
    fingerprint: str
    seconds: float
    usage: Usage
    dollars: float | None
    agreement: Agreement

    def annotations(self) -> Path:
        """The present judge's annotations on this machine's disk: `compared` takes two such files."""
        artefact = Artefact(self.uri)
        return artefact.fetch(ANNOTATIONS, artefact.work_dir())
