"""Figures from judgments of Arena-Hard's form: by question, by category as published, and style-controlled.

score_pairs(Path("pairs.jsonl"))      win rate over the prompts, categories, style control
item_shares(Path("pairs.jsonl"))      each prompt's share in %, for pairing two arms
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import Field

from tasks.benchmarks.figures import MIN_JUDGED, ONE_ITEM, UNKNOWN_CAUSE, UNKNOWN_JUDGE, Score
from tasks.benchmarks.pairwise_files import Pair, read_pairs
from tasks.benchmarks.style_control import (
    Battles,
    NoEstimateError,
    controlled_share,
    features,
    require_enough,
    resampled_shares,
)
from tasks.core.errors import InputError, PermanentError
from tasks.core.text_files import one_line
from tasks.stats.metrics import ArmMetrics
from tasks.stats.paired import FiniteValue, mean_interval

__all__ = ["CategoryScore", "PairwiseScore", "causes_of", "item_shares", "score_pairs"]


class CategoryScore(FiniteValue):
    """One category, in %.

    score             the mean over battles, in which a verdict of "significantly better" counts three times:
                      what Arena-Hard publishes without style control
    lower, upper      its 95% interval, by a bootstrap over the prompts
    style_controlled  None where the score's `style_note` says why not
    n                 prompts judged
    """

    score: float
    lower: float | None
    upper: float | None
    style_controlled: float | None
    n: int


class PairwiseScore(Score):
    """The figures of one file of judgments. Rates are in %; 50 is a draw with the baseline.

    judge, baseline    who judged, and against whose answers
    win_rate           the mean over prompts of each prompt's share of its battles: what a verdict pairs
    standard_error     of it, None where `standard_error_note` says why not
    lower, upper       its 95% interval, by a bootstrap over the prompts
    style_controlled   the mean over prompts of the categories' style-controlled scores
    style_error        its standard error, by a bootstrap that repeats the fits
    style_note         why there is none
    categories         as published, by category
    mean_length        characters of an answer, 0 for a file that does not say it
    n_total            prompts judged in both games; n_failed: prompts without, in no figure
    not_judged         those by cause, as far as the file says it
    """

    judge: str
    baseline: str
    win_rate: float
    standard_error: float | None
    standard_error_note: str = ""
    lower: float | None
    upper: float | None
    style_controlled: float | None
    style_error: float | None
    style_resampled: tuple[float, ...] = Field(default=(), exclude=True, repr=False)
    style_note: str
    categories: dict[str, CategoryScore]
    mean_length: int
    n_total: int
    n_failed: int
    not_judged: dict[str, int]

    def metrics(self) -> ArmMetrics:
        """Of the prompts' shares; style control stands where other benchmarks control length."""
        if self.standard_error is None:
            raise InputError(f"a verdict needs at least two judged prompts; there is {self.n_total}")
        return ArmMetrics(
            score=self.win_rate,
            standard_error=self.standard_error,
            lc_win_rate=self.style_controlled,
            lc_standard_error=self.style_error,
            mean_length=self.mean_length,
            categories={name: category.score for name, category in self.categories.items()},
            not_judged=self.not_judged,
        )

    @property
    def resampled(self) -> tuple[float, ...]:
        """The style-controlled scores of the bootstrap."""
        return self.style_resampled

    @property
    def note(self) -> str | None:
        """Why there is no style-controlled score."""
        return self.style_note or None


class _Controlled(FiniteValue):
    overall: float | None = None
    error: float | None = None
    resampled: tuple[float, ...] = ()
    note: str = ""
    categories: dict[str, float] = Field(default_factory=dict)


def score_pairs(
    judgments: Path, *, items: Collection[Hashable] | None = None, min_judged: float = MIN_JUDGED
) -> PairwiseScore:
    """The figures of a file of judgments.

    items  the prompts that count, the others being left out as if not judged; None: all

    Raises:
        InputError: the file is not of Arena-Hard's form.
        PermanentError: less than `min_judged` of its prompts are judged in both games.
    """
    every = read_pairs(judgments)
    causes = causes_of(every)
    judged = [pair for pair in every if pair.share is not None]
    if len(judged) < min_judged * len(every) or not judged:
        raise PermanentError(
            f"{judgments}: {len(judged)} of {len(every)} prompts are judged in both orders and a figure "
            f"needs {min_judged:.0%}; judge the rest, or use a judge that keeps to the format"
        )
    if items is not None:
        judged = [pair for pair in judged if pair.uid in items]
    shares = [100 * (pair.share or 0) for pair in judged]
    several = len(judged) > 1
    ends = mean_interval(shares, [1.0] * len(shares)) if several else (None, None)
    groups = _by_category(judged)
    controlled = _controlled(groups)
    lengths = [int(pair.row.get("characters", 0)) for pair in judged]
    baselines = dict.fromkeys(one_line(str(pair.row.get("baseline", "unknown baseline"))) for pair in judged)
    return PairwiseScore(
        judge=one_line(str(every[0].row.get("judge") or UNKNOWN_JUDGE)),
        baseline=", ".join(baselines),
        win_rate=fmean(shares),
        standard_error=stdev(shares) / len(shares) ** 0.5 if several else None,
        standard_error_note="" if several else ONE_ITEM,
        lower=ends[0],
        upper=ends[1],
        style_controlled=controlled.overall,
        style_error=controlled.error,
        style_resampled=controlled.resampled,
        style_note=controlled.note,
        categories={
            name: _category(pairs, controlled.categories.get(name)) for name, pairs in groups.items()
        },
        mean_length=int(fmean(lengths)),
        n_total=len(judged),
        n_failed=sum(causes.values()),
        not_judged=causes,
    )


def item_shares(judgments: Path) -> dict[str, float | None]:
    """Each prompt's share of its battles in %, None without a judgment; raises as `read_pairs`."""
    return {pair.uid: None if pair.share is None else 100 * pair.share for pair in read_pairs(judgments)}


def causes_of(pairs: Iterable[Pair]) -> dict[str, int]:
    """The prompts without a judgment, by cause."""
    missing = (pair for pair in pairs if pair.share is None)
    return dict(Counter(str(pair.row.get("no_judgment") or UNKNOWN_CAUSE) for pair in missing))


def _by_category(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.category or "all", []).append(pair)
    return groups


def _category(pairs: Sequence[Pair], style_controlled: float | None) -> CategoryScore:
    sums = [100 * sum(pair.battles or ()) for pair in pairs]
    counts = [float(len(pair.battles or ())) for pair in pairs]
    ends = mean_interval(sums, counts) if len(pairs) > 1 else (None, None)
    return CategoryScore(
        score=sum(sums) / sum(counts),
        lower=ends[0],
        upper=ends[1],
        style_controlled=style_controlled,
        n=len(pairs),
    )


def _controlled(groups: Mapping[str, Sequence[Pair]]) -> _Controlled:
    """Each category's fit, and their mean over the prompts; none where the file lacks the answers' style."""
    battles: dict[str, dict[str, Battles]] = {}
    for name, pairs in groups.items():
        battles[name] = {}
        for pair in pairs:
            style: Any = pair.row.get("style")
            if not _is_style(style):
                return _Controlled(note="not available, because the file does not hold the answers' style")
            won = sum(pair.battles or ())
            battles[name][pair.uid] = Battles(
                features(style["model"], style["baseline"]), won, len(pair.battles or ()) - won
            )
    sizes = [len(pairs) for pairs in groups.values()]
    try:
        require_enough(battles)
        shares = {name: controlled_share(list(found.values())) for name, found in battles.items()}
        draws = resampled_shares(battles)
    except NoEstimateError as error:
        return _Controlled(note=f"not available, because {error}")
    except ValueError as error:  # scikit-learn's
        return _Controlled(note=f"not available, because its model cannot be fitted ({error})"[:200])

    def mean(of_categories: Iterable[float]) -> float:
        pairs = zip(of_categories, sizes, strict=True)
        return 100 * sum(share * size for share, size in pairs) / sum(sizes)

    fits = tuple(mean(draw) for draw in draws)
    return _Controlled(
        overall=mean(shares.values()),
        error=stdev(fits) if len(fits) > 1 else None,
        resampled=fits,
        categories={name: 100 * share for name, share in shares.items()},
    )


def _is_style(style: object) -> bool:
    """Four counts of each side."""
    return isinstance(style, dict) and all(
        isinstance(counts := style.get(side), list)
        and len(counts) == 4
        and all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
        for side in ("model", "baseline")
    )
