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
from typing import Any, Literal, Protocol

from tasks.benchmarks.budget import Usage
from tasks.benchmarks.data import DataFile
from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged, Measure, Score
from tasks.benchmarks.judge_config import RULE, Judge
from tasks.benchmarks.rows import Rows
from tasks.core.families import Published
from tasks.generation.settings import QuestionForm, Sampling
from tasks.stats.metrics import PublishedFigures

__all__ = ["Benchmark", "Judging"]

# Against the reference's answers; each by itself, on a scale; or by a rule, without a judge.
Judging = Literal["pairwise", "graded", "verified"]


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
