"""What a benchmark is to the rest of the project: one subclass of `Benchmark`, in one module.

    class Sums(Benchmark):
        name = "sums"
        measure = Measure(title="Sums", score="accuracy", …)
        judging = "verified"
        …

    BENCHMARK = Sums()

and a line in `tasks.benchmarks.table`. No other module knows a benchmark by name.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.judge_config import RULE, Judge
from tasks.benchmarks.rows import Rows
from tasks.core.families import Published
from tasks.core.values import Value
from tasks.generation.settings import QuestionForm, Sampling
from tasks.stats.metrics import ArmMetrics, PublishedFigures
from tasks.stats.paired import FiniteValue

__all__ = [
    "MIN_JUDGED",
    "ONE_ITEM",
    "UNKNOWN_CAUSE",
    "UNKNOWN_JUDGE",
    "Benchmark",
    "Counts",
    "Judged",
    "Judging",
    "Measure",
    "Score",
]

MIN_JUDGED = 0.95
UNKNOWN_JUDGE = "unknown judge"  # of a file that does not say who judged
ONE_ITEM = "not available, because there is one item"  # the standard error of a file's score
UNKNOWN_CAUSE = "cause unknown"  # of an item without a judgment in a file that does not say why

# Against the reference's answers; each by itself, on a scale; or by a rule, without a judge.
Judging = Literal["pairwise", "graded", "verified"]


class Measure(Value):
    """What a benchmark's scores are called, and how they are written.

    title      the benchmark's name in text
    score      what a score is, in a sentence: "win rate", "rating", "accuracy"
    axis       the same where a number stands alone: "win rate, %", "mean rating"
    unit       of a difference of two scores
    digits     of a score, after the point
    metric     the metric's name on the Hub
    dataset    the benchmark's name on the Hub
    length_controlled  whether there is a length-controlled score beside the plain one
    control    what that score controls: length, or style (length and markdown)
    min_mass   of preferences that are read from probabilities: the part of the likeliest tokens'
               that the verdict tokens must have together, below which there is no judgment
    """

    title: str
    score: str
    axis: str
    unit: str = "percentage points"
    digits: int = 1
    metric: str
    dataset: str
    length_controlled: bool = False
    control: Literal["length", "style"] = "length"
    min_mass: float | None = None

    @property
    def controlled(self) -> str:
        """What the controlled score is called: "length-controlled win rate"."""
        return f"{self.control}-controlled {self.score}"


class Score(FiniteValue):
    """The figures of one file of judgments: what `expo score` prints. Figures of two judges never mix."""

    judge: str

    @abstractmethod
    def metrics(self) -> ArmMetrics:
        """The same as an arm's metrics; what the file does not have is 0 or None."""

    @property
    def resampled(self) -> tuple[float, ...]:
        """A bootstrap of the length-controlled score, empty where there is none."""
        return ()

    @property
    def note(self) -> str | None:
        """Why there is no length-controlled score, for a benchmark that has one."""
        return None


class Judged(NamedTuple):
    """An arm's answers and the judgments of them."""

    answers: Path
    judgments: Path


class Counts(NamedTuple):
    """Items of a file of judgments, how many of them have none, and how many have one that says nothing.

    causes       both kinds together, by why
    median_mass  of the judgments that were read from probabilities, see `Measure.min_mass`
    """

    n_total: int
    n_failed: int
    n_unparsed: int = 0
    causes: Mapping[str, int] = {}
    median_mass: float | None = None


class Benchmark(Protocol):
    """A benchmark: what it asks, how its answers are judged, how it scores, what a report shows.

    name         in parameters, stores and reports
    judging      pairwise, graded or verified
    form         of its file of questions and of the answers to it
    data_files   what it downloads, pinned
    judgments    the name of its file of judgments
    reference    what the digest in a report is of: "questions", "reference outputs"
    takes_files  whether a family may bring a file of its own, in the benchmark's form
    against_original  whether both arms are judged against the original's answers
    rule         verified only: the name and version of the rule
    citation     its publication, as BibTeX
    """

    name: str
    measure: Measure
    judging: Judging
    form: QuestionForm
    data_files: tuple[DataFile, ...] = ()
    judgments: str
    reference: str = "questions"
    takes_files: bool = False
    against_original: bool = False
    rule: str = ""
    citation: str = ""

    @abstractmethod
    def questions(self) -> Path:
        """The file of questions on this machine's disk, downloaded if need be.

        Raises:
            RetryableError, PermanentError: it cannot be had.
        """

    def fetch_judging_data(self) -> None:
        """Downloads what judging needs beside the questions: lacking it should not end a run after hours.

        Raises:
            RetryableError, PermanentError: it cannot be had.
        """
        return

    def sampling(self, max_tokens: int) -> Sampling:
        """How answers are drawn: the authors' way, with the family's limit of an answer's tokens."""
        return Sampling(max_tokens=max_tokens)

    def temperatures(self) -> dict[str, float]:
        """Temperatures by category, in place of the sampling's."""
        return {}

    def require(self) -> None:
        """Refuses a run before anything is spent, where what scores its answers is not installed.

        Raises:
            PermanentError: with one line that says what to install.
        """
        return

    def own_judge(self) -> Judge | None:
        """The rule of a verified benchmark, under whose name its figures stand."""
        return Judge(model=self.rule, base_url=f"{RULE}{self.name}") if self.rule else None

    def judge_name(self, judge: Judge) -> str:
        """Who judged, as it stands on every figure: the model's name, with what else tells judges apart."""
        return judge.model

    def judge_identity(self, judge: Judge) -> dict[str, Any]:
        """What decides the judgments beside who judges: prompts, sampling, orders."""
        return {}

    def judge_sampling(self, judge: Judge) -> str:
        """How judgments are drawn, in words for the report."""
        return "none: a rule"

    def requests(self, answers: int, judge: Judge) -> int:
        """How many steps of progress judging so many answers is."""
        return answers

    def expected_usage(self, judge: Judge, questions: Path | None = None) -> Usage | None:
        """What judging an arm will use, before there are answers; None where the data is not here.

        questions  the file that is asked; None: the benchmark's own, if it is on this machine
        """
        return Usage()

    def require_answers(self, answers: Path, reference: Path) -> None:
        """Refuses a file that does not answer what was asked, before anybody is paid for judging it.

        Raises:
            InputError: an answer is missing, there twice, or to another question: names the first.
        """
        return

    @abstractmethod
    def judge(
        self,
        answers: Path,
        reference: Path,
        judge: Judge,
        folder: Path,
        *,
        advance: Callable[[int], None],
        again: bool = False,
    ) -> Path:
        """Judges a file of answers, and writes folder/`judgments`.

        reference  the file that was asked
        again      asks once more for items whose reply held no judgment

        Raises:
            InputError: the answers are not those to the questions.
            RetryableError, PermanentError: the judge does not answer, or gives too few judgments.
        """

    @abstractmethod
    def count(self, judgments: Path) -> Counts:
        """Items of a file of judgments, and those without one."""

    @abstractmethod
    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> Score:
        """The figures of a file of judgments.

        items  those whose judgments count, the others being left out as if not judged; None: all
        extra  a data file of the benchmark's figures, in place of the downloaded one

        Raises:
            InputError: the file is not of the benchmark's form.
            PermanentError: less than `min_judged` of its items are judged.
        """

    @abstractmethod
    def item_scores(self, judgments: Path) -> Mapping[Any, float | None]:
        """Each item's score in the unit of the measure, None where it has no judgment.

        Raises:
            InputError: the file is not of the benchmark's form.
        """

    def cluster(self, item: Any) -> Hashable:  # noqa: ANN401 - the benchmark's own kind of item
        """What an item depends on with others, as two turns do on their question; by default on nothing."""
        return item  # type: ignore[no-any-return]

    def published(self, published: Published) -> PublishedFigures | None:
        """The authors' figures, None where they have none."""
        return None

    @abstractmethod
    def rows(self, original: Judged, expo: Judged) -> Rows:
        """What a report shows of both arms' answers."""

    @abstractmethod
    def recognizes(self, judgments: Path) -> bool:
        """Whether a file of judgments is of this benchmark's form."""

    @abstractmethod
    def model_of(self, judgments: Path) -> str:
        """Whose answers a file's judgments are of."""

    def judged_texts(self, judgments: Path) -> object:
        """What of a file says which answers it is of: equal for two files of the same answers."""
        return self.model_of(judgments)

    def require_comparable(self, first: Path, second: Path) -> None:
        """Refuses two files whose scores mean different things, as of two references.

        Raises:
            InputError: saying what differs.
        """
        return
