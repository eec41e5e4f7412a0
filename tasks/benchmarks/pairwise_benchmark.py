"""What benchmarks of written pairwise verdicts have in common: Arena-Hard, and prompts of one's own."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.benchmarks.figures import MIN_JUDGED, Counts, Judged
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.pairwise_files import (
    BASELINE_DIGEST,
    Pair,
    answers_of,
    read_pairs,
    text_of_answer,
    writer_of,
)
from tasks.benchmarks.pairwise_judge import JUDGMENTS, Matchup, judge_matchups
from tasks.benchmarks.pairwise_prompts import CREATIVE, system_prompt
from tasks.benchmarks.pairwise_score import PairwiseScore, causes_of, item_shares, score_pairs
from tasks.benchmarks.protocol import Benchmark
from tasks.benchmarks.rows import AnswerRow, Rows
from tasks.core.errors import InputError
from tasks.core.text_files import one_line, read_json_lines
from tasks.core.values import fingerprint

__all__ = ["PairwiseBenchmark", "answers_by_uid", "direct_matchups"]


class PairwiseBenchmark(Benchmark):
    """Prompts of one turn; each answer is judged against another in both orders, by a written verdict."""

    judging = "pairwise"
    form = "prompts"
    judgments = JUDGMENTS

    @abstractmethod
    def matchups(self, answers: Path, reference: Path) -> list[Matchup]:
        """What is judged: each answer with the one that it is judged against.

        Raises:
            InputError: the answers are not those to the prompts.
        """

    @abstractmethod
    def references(self, answers: Mapping[str, str]) -> Mapping[str, str]:
        """By uid the answers that both arms are judged against, as a report shows them.

        answers  an arm's, by uid
        """

    def judge_identity(self, judge: Judge) -> dict[str, Any]:
        """The digest of the prompts, and how a verdict is drawn."""
        prompts = fingerprint({"prompts": [system_prompt(name) for name in ("", CREATIVE)]})
        return {"prompts": prompts, "sampling": judge.verdict_sampling.arguments()}

    def judge_sampling(self, judge: Judge) -> str:
        """How a verdict is drawn, as JSON, and the orders."""
        return f"{judge.verdict_sampling.model_dump_json(exclude_none=True)}; both orders"

    def requests(self, answers: int, judge: Judge) -> int:
        """Two for each answer: one in each order."""
        return 2 * answers

    def require_answers(self, answers: Path, reference: Path) -> None:
        """Raises InputError unless each prompt of `reference` has one answer, and nothing else has."""
        self.matchups(answers, reference)

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
        """Has both orders of each pair judged; the file of pairs. Raises as `judge_matchups`."""
        return judge_matchups(self.matchups(answers, reference), judge, folder, advance=advance, again=again)

    def count(self, judgments: Path) -> Counts:
        """Pairs in all, without a judgment and without a verdict, with the causes."""
        pairs = read_pairs(judgments)
        causes = causes_of(pairs)
        unparsed = causes.get("unparsed", 0)
        return Counts(len(pairs), sum(causes.values()) - unparsed, unparsed, causes)

    def score(
        self,
        judgments: Path,
        *,
        items: Collection[Hashable] | None = None,
        min_judged: float = MIN_JUDGED,
        extra: Path | None = None,
    ) -> PairwiseScore:
        """The arm's figures, over `items` alone where they are given; raises as `score_pairs`."""
        return score_pairs(judgments, items=items, min_judged=min_judged)

    def item_scores(self, judgments: Path) -> dict[str, float | None]:
        """Each prompt's share in %, by uid; None where an order has no verdict."""
        return item_shares(judgments)

    def rows(self, original: Judged, expo: Judged) -> Rows:
        """The prompts that both arms answered, with both shares and the reference."""
        answers = [answers_by_uid(arm.answers) for arm in (original, expo)]
        prompts = {
            row["uid"]: text if isinstance(text := row["messages"][0].get("content"), str) else ""
            for _, row in read_json_lines(original.answers)
        }
        references = self.references(answers[0])
        pairs = [{pair.uid: pair for pair in read_pairs(arm.judgments)} for arm in (original, expo)]
        return Rows(
            answers=tuple(
                AnswerRow(
                    instruction=prompts[uid],
                    original=answers[0][uid],
                    expo=answers[1][uid],
                    reference=references.get(uid, ""),
                    original_preference=pair.share,
                    expo_preference=pairs[1][uid].share,
                    benchmark=self.name,
                )
                for uid, pair in pairs[0].items()
                if uid in pairs[1] and uid in answers[0] and uid in answers[1]
            )
        )

    def recognizes(self, judgments: Path) -> bool:
        """JSON lines with games."""
        if judgments.suffix != ".jsonl":
            return False
        try:
            return "games" in read_json_lines(judgments)[0][1]
        except InputError:
            return False

    def model_of(self, judgments: Path) -> str:
        """The name in the first pair, else the file's."""
        return one_line(str(read_pairs(judgments)[0].row.get("model", judgments.stem)))

    def judged_texts(self, judgments: Path) -> object:
        """The texts themselves are not in these files; their style and length are."""
        return {
            pair.uid: (pair.row.get("style"), pair.row.get("characters")) for pair in read_pairs(judgments)
        }

    def require_comparable(self, first: Path, second: Path) -> None:
        """Raises InputError where a prompt was judged against two baselines."""
        others = {pair.uid: pair for pair in read_pairs(second)}
        for pair in read_pairs(first):
            if pair.uid not in others:
                continue
            names = [one_line(str(row.get("baseline", ""))) for row in (pair.row, others[pair.uid].row)]
            if names[0] != names[1]:
                raise InputError(
                    f"{first}, {second}: judged against two baselines, {names[0]} and {names[1]}; "
                    "only scores against the same answers can be compared"
                )
            if not _same_baseline(pair, others[pair.uid]):
                raise InputError(
                    f"{first}, {second}: judged against two baselines, both called {names[0]} (first at "
                    f"prompt {pair.uid[:60]!r}); only scores against the same answers can be compared"
                )


def _same_baseline(pair: Pair, other: Pair) -> bool:
    """Whether two judgments are against one text: by its digest, or by its style where a file has none."""
    digests = [row.get(BASELINE_DIGEST) for row in (pair.row, other.row)]
    if None not in digests:
        return digests[0] == digests[1]
    styles = [row.get("style") for row in (pair.row, other.row)]
    found = [style.get("baseline") for style in styles if isinstance(style, dict)]
    return len(found) < len(styles) or None in found or found[0] == found[1]


def answers_by_uid(path: Path) -> dict[str, str]:
    """The answers' texts of a file of Arena-Hard's form, by uid."""
    return {row["uid"]: text_of_answer(row) or "" for _, row in read_json_lines(path)}


def direct_matchups(answers: Path, other: Path, prompts: Sequence[Any]) -> list[Matchup]:
    """Each answer of a file against the other file's answer to the same prompt; raises as `answers_of`."""
    found, against = (answers_of(path, tuple(prompts)) for path in (answers, other))
    names = writer_of(found), writer_of(against)
    return [
        Matchup(
            prompt,
            text_of_answer(found[prompt.uid]) or "",
            text_of_answer(against[prompt.uid]) or "",
            *names,
        )
        for prompt in prompts
    ]
