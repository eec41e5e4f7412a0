"""AlpacaEval 2.0: 805 instructions, each answer compared with the reference's by the judge."""

from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.benchmarks import alpaca_judge
from tasks.benchmarks.alpaca_annotators import prompt_file
from tasks.benchmarks.alpaca_data import DIFFICULTY, REFERENCE, REPOSITORY
from tasks.benchmarks.alpaca_files import in_order_of, read_annotations, read_answers
from tasks.benchmarks.alpaca_mass import MIN_MASS
from tasks.benchmarks.alpaca_score import (
    AlpacaEvalScore,
    item_preferences,
    median_mass,
    score_annotations,
    why_not_judged,
)
from tasks.benchmarks.budget import Usage
from tasks.benchmarks.data import cached, fetch, verified
from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged, Measure
from tasks.benchmarks.judge_config import PUBLISHED_ANNOTATOR, Judge
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.rows import AnswerRow, Rows
from tasks.core.errors import CorruptError, ExpoError, InputError
from tasks.core.families import Published
from tasks.core.text_files import one_line, read_json
from tasks.stats.metrics import PublishedFigures
from tasks.stores.disk import sha256_of

__all__ = ["BENCHMARK"]

PUBLISHED_JUDGE = "gpt-4-1106-preview"

CITATION = """@article{dubois2024length,
  title = {Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators},
  author = {Dubois, Yann and Galambosi, Bal{\\'a}zs and Liang, Percy and Hashimoto, Tatsunori B.},
  journal = {arXiv preprint arXiv:2404.04475},
  year = {2024}
}"""


class _AlpacaEval(Benchmark):
    name = "alpaca_eval"
    citation = CITATION
    measure = Measure(
        title="AlpacaEval 2.0",
        score="win rate",
        axis="win rate, %",
        metric="win_rate",
        dataset=REPOSITORY,
        length_controlled=True,
        min_mass=MIN_MASS,
    )
    judging = "pairwise"
    form = "instructions"
    data_files = (REFERENCE, DIFFICULTY)
    judgments = alpaca_judge.ANNOTATIONS
    reference = "reference outputs"
    takes_files = True

    def questions(self) -> Path:
        reference = fetch(REFERENCE)
        with suppress(ExpoError):  # the score says that there is no length control, and why
            fetch(DIFFICULTY)
        return reference

    def judge_name(self, judge: Judge) -> str:
        """The model, with the annotator in brackets unless it is AlpacaEval 2.0's."""
        return alpaca_judge.judge_name(judge)

    def judge_identity(self, judge: Judge) -> dict[str, Any]:
        return {
            "orders": {"seed": judge.seed, "both": judge.both_orders},
            "prompt": sha256_of(prompt_file(judge.annotator)),
            "sampling": judge.pairwise_sampling.arguments(),
        } | ({} if judge.annotator == PUBLISHED_ANNOTATOR else {"annotator": judge.annotator})

    def judge_sampling(self, judge: Judge) -> str:
        orders = "; both orders" if judge.both_orders else ""
        by = "" if judge.annotator == PUBLISHED_ANNOTATOR else f"; annotator {judge.annotator}"
        return f"{judge.pairwise_sampling.model_dump_json(exclude_none=True)}{orders}{by}"

    def requests(self, answers: int, judge: Judge) -> int:
        return answers * (2 if judge.both_orders else 1)

    def expected_usage(self, judge: Judge, questions: Path | None = None) -> Usage | None:
        questions = questions or cached(REFERENCE)
        return alpaca_judge.expected_usage(questions, judge) if questions else None

    def require_answers(self, answers: Path, reference: Path) -> None:
        in_order_of(read_answers(reference), read_answers(answers), answers)

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
        return alpaca_judge.judge_answers(answers, reference, judge, folder, advance=advance)

    def count(self, judgments: Path) -> Counts:
        rows = read_annotations(judgments)
        causes = why_not_judged(rows)
        return Counts(len(rows), sum(causes.values()), causes=causes, median_mass=median_mass(rows))

    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> AlpacaEvalScore:
        difficulty, damage = _difficulty(extra)
        score = score_annotations(judgments, difficulty, items=items, min_judged=min_judged)
        return score.model_copy(update={"lc_note": f"not available, because {damage}"}) if damage else score

    def item_scores(self, judgments: Path) -> dict[str, float | None]:
        shares = item_preferences(judgments).items()
        return {item: None if share is None else 100 * share for item, share in shares}

    def published(self, published: Published) -> PublishedFigures:
        return PublishedFigures(
            judge=PUBLISHED_JUDGE, score=published.win_rate, lc_win_rate=published.lc_win_rate
        )

    def rows(self, original: Judged, expo: Judged) -> Rows:
        """Every instruction with both arms' answers, the reference's, and the preference for each."""
        rows = [read_annotations(arm.judgments) for arm in (original, expo)]
        shares = [item_preferences(arm.judgments) for arm in (original, expo)]
        return Rows(
            answers=tuple(
                AnswerRow(
                    instruction=before["instruction"],
                    reference=before["output_1"],
                    original=before["output_2"],
                    expo=after["output_2"],
                    original_preference=shares[0].get(before["instruction"]),
                    expo_preference=shares[1].get(before["instruction"]),
                )
                for before, after in zip(*rows, strict=True)
            )
        )

    def recognizes(self, judgments: Path) -> bool:
        """A JSON list of rows with outputs; of what cannot be read, its reader says why."""
        if judgments.suffix == ".jsonl":
            return False
        try:
            rows = read_json(judgments)
        except InputError:
            return True
        first = rows[0] if isinstance(rows, list) and rows else None
        return not isinstance(first, dict) or not {"output_1", "preference"}.isdisjoint(first)

    def model_of(self, judgments: Path) -> str:
        return one_line(str(read_annotations(judgments)[0].get("generator_2", judgments.stem)))

    def judged_texts(self, judgments: Path) -> object:
        return {row["instruction"]: row["output_2"] for row in read_annotations(judgments)}

    def require_comparable(self, first: Path, second: Path) -> None:
        rows, others = read_annotations(first), read_annotations(second)
        names = [file[0].get("generator_1") for file in (rows, others)]
        if None not in names and names[0] != names[1]:
            raise InputError(
                f"{first}, {second}: judged against two references, {names[0]} and {names[1]}; "
                "only win rates over the same outputs can be compared"
            )
        references = {row["instruction"]: row["output_1"] for row in rows}
        for row in others:
            if references.get(row["instruction"], row["output_1"]) != row["output_1"]:
                raise InputError(
                    f"{first}, {second}: judged against two references (first at "
                    f"{row['instruction'][:60]!r}); only win rates over the same outputs can be compared"
                )


def _difficulty(given: Path | None) -> tuple[Path | None, str]:
    """The verified file for length control, None where there is none; what is wrong with a damaged one."""
    if given is not None:
        if not given.is_file():
            raise InputError(f"{given}: no such file; length control needs AlpacaEval's df_gamed.csv")
        return verified(given, DIFFICULTY), ""
    try:
        return cached(DIFFICULTY), ""
    except CorruptError as error:
        return None, str(error)


BENCHMARK = _AlpacaEval()
