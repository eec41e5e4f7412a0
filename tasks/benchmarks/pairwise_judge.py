"""Two answers to each prompt, judged in both orders by a written verdict: Arena-Hard's way.

In the first game of a pair the baseline's answer is A, in the second it is B (`gen_judgment.py` of
lmarena/arena-hard-auto). Only the asking is this project's: with journal, budget and retries.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.benchmarks.asking import Failure, Request, ask_all, check_share
from tasks.benchmarks.budget import Usage, estimate
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.judge_journal import JOURNAL, Choice, Journal
from tasks.benchmarks.pairwise_files import BASELINE_DIGEST, Prompt
from tasks.benchmarks.pairwise_prompts import messages_of, verdict_of
from tasks.benchmarks.style_control import style_of
from tasks.core.values import fingerprint
from tasks.generation.completions import text_of
from tasks.stores.disk import whole_file

__all__ = ["JUDGMENTS", "SAME_TEXT", "Matchup", "expected_usage", "judge_matchups"]

JUDGMENTS = "pairs.jsonl"
SAME_TEXT = "The two answers are the same text: a draw, and nobody was asked."
DRAW = "A=B"


class Matchup(NamedTuple):
    """A prompt with the answer that is judged and the one that it is judged against, and whose they are."""

    prompt: Prompt
    answer: str
    baseline: str
    model: str
    baseline_model: str

    @property
    def is_same_text(self) -> bool:
        """Whether there is nothing to ask."""
        return self.answer == self.baseline


def judge_matchups(
    matchups: Sequence[Matchup],
    judge: Judge,
    folder: Path,
    *,
    advance: Callable[[int], None],
    again: bool = False,
) -> Path:
    """Judges each pair in both orders, and writes folder/pairs.jsonl in Arena-Hard's form.

    A line a prompt: "games" with "score" (a label, null without one) and "judgment"; besides, "style" and
    "characters" of the answers for style control, the sha256 of the baseline's text, and "no_judgment" with
    the cause where a game has no verdict. The journal beside it makes a restart pay only for what was in
    flight; with `again` it pays once more for replies without a verdict.

    Raises:
        RetryableError, PermanentError: as in `ask_all` and `check_share`.
    """
    asked = [matchup for matchup in matchups if not matchup.is_same_text]
    requests = [request for matchup in asked for request in _games(matchup, judge)]
    advance(2 * (len(matchups) - len(asked)))
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / JOURNAL) as journal:
        choices = ask_all(
            requests,
            judge,
            journal,
            defect=_no_verdict if again else _empty,
            says_something=lambda choice: not _no_verdict(choice),
            advance=advance,
        )
        if again:  # what has no verdict once more is what it was
            choices = [
                _last(choice, journal, request) for choice, request in zip(choices, requests, strict=True)
            ]
    games = iter(choices)
    rows, failures, n_failed = [], [], 0
    for matchup in matchups:
        pair = None if matchup.is_same_text else (next(games), next(games))
        failed = [game for game in pair or () if isinstance(game, Failure)]
        failures += failed
        n_failed += bool(failed)
        rows.append(_row(matchup, pair, judge))
    check_share(failures, n_failed, len(matchups), judge)
    with whole_file(folder / JUDGMENTS) as part:
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder / JUDGMENTS


def expected_usage(pairs: Iterable[tuple[Prompt, str]], judge: Judge) -> Usage:
    """What judging these prompts will use, if both answers are as long as the text beside the prompt."""
    requests = [
        request
        for prompt, answer in pairs
        for request in _games(Matchup(prompt, answer, answer, "", ""), judge)
    ]
    return estimate(requests)


def _games(matchup: Matchup, judge: Judge) -> tuple[Request, Request]:
    prompt, orders = matchup.prompt, (matchup.baseline, matchup.answer)
    first, second = (
        {
            "model": judge.model,
            "messages": messages_of(prompt.category, prompt.text, *answers),
            **judge.verdict_sampling.arguments(),
        }
        for answers in (orders, orders[::-1])
    )
    return first, second


def _row(matchup: Matchup, pair: tuple[Choice | Failure, Choice | Failure] | None, judge: Judge) -> Any:  # noqa: ANN401
    games = (
        [{"score": DRAW, "judgment": {"answer": SAME_TEXT}}] * 2 if pair is None else list(map(_game, pair))
    )
    row = {
        "uid": matchup.prompt.uid,
        "category": matchup.prompt.category,
        "judge": judge.model,
        "model": matchup.model,
        "baseline": matchup.baseline_model,
        BASELINE_DIGEST: hashlib.sha256(matchup.baseline.encode()).hexdigest(),
        "games": games,
        "style": {"model": style_of(matchup.answer), "baseline": style_of(matchup.baseline)},
        "characters": len(matchup.answer),
    }
    causes = [game.cause for game in pair or () if isinstance(game, Failure)]
    if causes or any(game["score"] is None for game in games):
        row["no_judgment"] = causes[0] if causes else "unparsed"
    return row


def _game(game: Choice | Failure) -> dict[str, Any]:
    if isinstance(game, Failure):
        return {"score": None, "judgment": None}
    text = text_of(game)
    return {"score": verdict_of(text), "judgment": {"answer": text}}


def _empty(choice: Choice) -> str:
    return "" if text_of(choice) else "empty"


def _no_verdict(choice: Choice) -> str:
    return _empty(choice) or ("" if verdict_of(text_of(choice)) else "unparsed")


def _last(choice: Choice | Failure, journal: Journal, request: Request) -> Choice | Failure:
    """An unparsed reply in place of the failure that asking again made of it."""
    if isinstance(choice, Failure) and choice.cause == "unparsed":
        return journal.get(fingerprint(request)) or choice
    return choice
