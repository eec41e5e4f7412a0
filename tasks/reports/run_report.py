"""The report of a run as values, from which page, Markdown, JSON and table are rendered."""

from collections.abc import Sequence

from pydantic import Field

from tasks.benchmarks.rows import AnswerRow, Dialogue
from tasks.core.timeline import Timeline
from tasks.core.values import Value
from tasks.reports.norms import TensorNorm
from tasks.stats.agreement import Agreement
from tasks.stats.decision import Verdict, across_families
from tasks.stats.paired import FiniteValue
from tasks.stats.seeds import NoiseBand

__all__ = [
    "AlphaPoint",
    "Failure",
    "FamilyReport",
    "PublishedCost",
    "RacePoint",
    "RaceSummary",
    "RunReport",
    "StageCost",
    "corrected",
]


class AlphaPoint(FiniteValue):
    """One α of the curve: the win rate of + ExPO over the original in %, on held-out instructions.

    lower, upper  the 95% interval of the win rate
    mean_length   characters of an answer
    truncated     the share of answers cut at the token limit, 0 to 1
    """

    alpha: float
    win_rate: float
    lower: float
    upper: float
    mean_length: float
    truncated: float


class RacePoint(FiniteValue):
    """A candidate of a search: its mean gain over α = 0 with the 95% interval, in the objective's unit.

    prompts  answered when its fate was decided
    fate     how it left the race, in words; "tied with the best" if it did not
    guards   its score minus that of α = 0 on each benchmark among the rails, by its name, in its unit
    """

    alpha: float
    gain: float
    lower: float
    upper: float
    prompts: int
    fate: str
    guards: dict[str, float] = Field(default_factory=dict, exclude_if=lambda guards: not guards)


class RaceSummary(Value):
    """The search that found α, as people read it.

    sentence   what it found, with the interval
    alpha      the choice; None: no α
    points     candidates that were scored, rising
    notes      rails of the choice, a second objective, costs: sentences
    objective  what scored; engine: what answered
    rounds     prompts after each round of the race
    header, rows   the race's table: a row a candidate
    margins    what may be lost on each benchmark among the rails, by its name, in its unit
    """

    sentence: str
    alpha: float | None = None
    points: tuple[RacePoint, ...] = ()
    notes: tuple[str, ...] = ()
    objective: str
    engine: str
    rounds: tuple[int, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    margins: dict[str, float] = Field(default_factory=dict, exclude_if=lambda margins: not margins)


class StageCost(FiniteValue):
    """The cost of a stage: seconds, and for judging the requests and US dollars where they are known."""

    stage: str
    seconds: float
    requests: int | None = None
    dollars: float | None = None


class Failure(Value):
    """A family that did not reach its verdict: in which stage, and why."""

    family: str
    stage: str
    reason: str


class PublishedCost(FiniteValue):
    """The authors' figure of another ability in %: (original, + ExPO), and how it was measured.

    standard_error  of + ExPO's, None where none was published
    """

    setting: str
    score: tuple[float, float]
    standard_error: float | None = None


class FamilyReport(Value):
    """One family: its verdicts, and the data behind them.

    verdicts     one for each benchmark and judge
    alpha_curve  empty where no curve was made
    norms        of the update, one for each tensor
    costs        in the order of the stages
    answers      comparisons that the page shows; dialogues: answers that are rated or verified
    noise        what the original differs by from itself under another seed, where it was asked twice
    published_costs   what the authors' + ExPO lost or won elsewhere, by their settings
    race         the search that found α, None where it was given
    notices      how the checkpoints were matched where names, rows and configs were not equal
    settings     provenance as it is shown: recipe, fingerprints, sampling, judge
    """

    family: str
    alpha: float
    verdicts: tuple[Verdict, ...]
    alpha_curve: tuple[AlphaPoint, ...] = ()
    norms: tuple[TensorNorm, ...] = ()
    costs: tuple[StageCost, ...] = ()
    answers: tuple[AnswerRow, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()
    noise: tuple[NoiseBand, ...] = ()
    published_costs: tuple[PublishedCost, ...] = Field(default=(), exclude_if=lambda costs: not costs)
    race: RaceSummary | None = Field(default=None, exclude_if=lambda race: race is None)
    notices: tuple[str, ...] = Field(default=(), exclude_if=lambda notices: not notices)
    settings: dict[str, str] = Field(default_factory=dict)


class RunReport(Value):
    """One run over some families.

    created  ISO 8601, UTC
    anchors  how far its judges are from those of stored annotations
    timelines  when the stages of each family worked; none in a report that was written before there were any
    """

    name: str
    created: str
    code_version: str
    families: tuple[FamilyReport, ...]
    failures: tuple[Failure, ...] = ()
    anchors: tuple[Agreement, ...] = ()
    timelines: tuple[Timeline, ...] = Field(default=(), exclude_if=lambda timelines: not timelines)
    note: str = ""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, family by family."""
        return tuple(verdict for family in self.families for verdict in family.verdicts)

    @property
    def judges(self) -> tuple[str, ...]:
        """The judges of this run, each once: figures by different judges are never mixed."""
        return tuple(dict.fromkeys(verdict.judge for verdict in self.verdicts))


def corrected(families: Sequence[FamilyReport]) -> tuple[FamilyReport, ...]:
    """The families of one run with Holm's correction in their verdicts."""
    verdicts = iter(across_families([verdict for family in families for verdict in family.verdicts]))
    return tuple(
        family.model_copy(update={"verdicts": tuple(next(verdicts) for _ in family.verdicts)})
        for family in families
    )
