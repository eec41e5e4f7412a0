"""The report on two files of answers that were judged: a verdict on the second model against the first."""

from tasks.benchmarks.registry import measure_of
from tasks.benchmarks.rows import AnswerRow, Dialogue
from tasks.core.values import Value
from tasks.reports.run_report import FamilyReport
from tasks.stats.decision import Verdict
from tasks.stats.formatting import change, interval, signed

__all__ = ["JudgedReport", "pair_sentence"]


class JudgedReport(Value):
    """Two files of answers, judged.

    names     of the two models
    created   ISO 8601, UTC
    settings  what was sent to whom, digests and costs, as it is shown
    """

    names: tuple[str, str]
    verdict: Verdict
    created: str
    code_version: str
    settings: dict[str, str]
    answers: tuple[AnswerRow, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()

    def as_family(self) -> FamilyReport:
        """The answers and their verdict, as the browser of answers takes them."""
        return FamilyReport(
            family=" and ".join(self.names),
            alpha=0.0,
            verdicts=(self.verdict,),
            answers=self.answers,
            dialogues=self.dialogues,
        )


def pair_sentence(report: JudgedReport) -> str:
    """The verdict on the second model against the first, in one sentence."""
    verdict, (first, second) = report.verdict, report.names
    found, measure = verdict.difference, measure_of(verdict.benchmark)
    figures = (
        f"{measure.score} {change(verdict.original.score, verdict.expo.score, measure.digits)}, "
        f"{signed(found.mean)} {verdict.unit} (95% interval {interval(found.lower, found.upper)})"
    )
    if verdict.outcome == "no evidence":
        return f"No evidence of a difference between {first} and {second}: {figures}."
    return f"{second} is {verdict.outcome} than {first}: {figures}."
