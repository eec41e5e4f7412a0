"""Arena-Hard's files, read and checked: prompts, answers, and judgments of two games each.

{"uid", "category", "prompt"}                                            a line a prompt
{"uid", "model", "messages": [{…}, {"content": {"answer": …}}], …}       a line an answer
{"uid", "category", "judge", "model", "baseline", "games": [{"score"}, {"score"}], …}     a line a pair
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.core.errors import InputError
from tasks.core.text_files import one_line, read_json_lines

__all__ = [
    "BASELINE_DIGEST",
    "LABELS",
    "Pair",
    "Prompt",
    "answers_of",
    "prompts_of",
    "read_pairs",
    "read_prompts",
    "writer_of",
]

STRONG = 3  # times that a verdict of "significantly better" counts
# for A: its share of each battle of a game, as the project's show_result.py has it
LABELS: dict[str, tuple[float, ...]] = {
    "A>B": (1.0,),
    "A>>B": (1.0,) * STRONG,
    "A=B": (0.5,),
    "A<<B": (0.0,) * STRONG,
    "A<B": (0.0,),
    "B>A": (0.0,),
    "B>>A": (0.0,) * STRONG,
    "B=A": (0.5,),
    "B<<A": (1.0,) * STRONG,
    "B<A": (1.0,),
}
PROMPT_FIELDS = ("uid", "prompt")
BASELINE_DIGEST = "baseline_sha256"  # of the text; this project's own field
NAMES = ("judge", "model")  # one of each in a file of judgments


class Prompt(NamedTuple):
    """One prompt of a file; `category` is "" where the file has none."""

    uid: str
    category: str
    text: str


class Pair(NamedTuple):
    """The judgment of one prompt's two answers.

    row    as it is in the file
    games  the verdict of each of the two games, None where it has none; in the first the baseline is A
    """

    uid: str
    category: str
    games: tuple[str | None, str | None]
    row: dict[str, Any]

    @property
    def battles(self) -> tuple[float, ...] | None:
        """The model's share of each battle, as published; None where a game has no verdict."""
        first, second = self.games
        if first is None or second is None:
            return None
        return (*LABELS[second], *(1 - share for share in LABELS[first]))

    @property
    def share(self) -> float | None:
        """The mean of the battles, 0 (the baseline is better) to 1; None without a judgment."""
        battles = self.battles
        return None if battles is None else sum(battles) / len(battles)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """The prompts of a file.

    Raises:
        InputError: no such file, a field is missing or no text, or a uid is there twice.
    """
    return prompts_of((f"{path}: line {number}", row) for number, row in read_json_lines(path))


def prompts_of(rows: Iterator[tuple[str, dict[str, Any]]]) -> tuple[Prompt, ...]:
    """The prompts of rows, each with where it stands; raises as `read_prompts`."""
    found: dict[str, Prompt] = {}
    for where, row in rows:
        for field in PROMPT_FIELDS:
            if not isinstance(row.get(field), str) or not row[field]:
                raise InputError(f"{where} has no text under {field!r}")
        if row["uid"] in found:
            raise InputError(f"{where}: prompt {row['uid'][:60]!r} is there twice")
        found[row["uid"]] = Prompt(row["uid"], str(row.get("category", "")), row["prompt"])
    return tuple(found.values())


def answers_of(path: Path, prompts: tuple[Prompt, ...]) -> dict[str, dict[str, Any]]:
    """A file's rows by uid: those that answer these prompts, all of them.

    Raises:
        InputError: a prompt has no answer or two, the file answers another prompt, or a row has no answer.
    """
    texts, found = {prompt.uid: prompt.text for prompt in prompts}, {}
    for number, row in read_json_lines(path):
        uid, where = row.get("uid"), f"{path}: line {number}"
        if not isinstance(uid, str) or text_of_answer(row) is None:
            raise InputError(
                f'{where} is no answer of Arena-Hard\'s form: "uid", and "messages" whose last has the answer'
            )
        if uid not in texts:
            raise InputError(f"{where} answers prompt {uid[:60]!r}, which these prompts do not have")
        if uid in found:
            raise InputError(f"{where}: prompt {uid[:60]!r} is answered twice")
        asked = _content(row, 0)
        if isinstance(asked, str) and len(row["messages"]) == 2 and asked != texts[uid]:
            raise InputError(f"{where}: prompt {uid[:60]!r} has another text there: {one_line(asked)[:60]!r}")
        found[uid] = row
    for uid, text in texts.items():
        if uid not in found:
            raise InputError(f"{path}: no answer to prompt {uid[:60]!r}: {one_line(text)[:60]!r}")
    return found


def text_of_answer(row: dict[str, Any]) -> str | None:
    """The answer's text, None where the row has none."""
    content = _content(row, -1)
    answer = content.get("answer") if isinstance(content, dict) else content
    return answer if isinstance(answer, str) else None


def writer_of(answers: dict[str, dict[str, Any]]) -> str:
    """Whose answers they are."""
    row = next(iter(answers.values()))
    return one_line(str(row.get("model", "unknown model")))


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """A file of judgments: one model by one judge, each prompt once.

    Raises:
        InputError: no such file, not of the form, or of several models or judges.
    """
    found: dict[str, Pair] = {}
    names: set[tuple[str, ...]] = set()
    for number, row in read_json_lines(path):
        where = f"{path}: line {number}"
        uid, games = row.get("uid"), row.get("games")
        if not isinstance(uid, str) or not isinstance(games, list) or len(games) != 2:
            raise InputError(f'{where} is no judgment of Arena-Hard\'s form: "uid", and "games", two of them')
        if uid in found:
            raise InputError(f"{where}: prompt {uid[:60]!r} is judged twice")
        scores = [_score(game, where) for game in games]
        characters = row.get("characters", 0)
        if isinstance(characters, bool) or not isinstance(characters, int) or characters < 0:
            raise InputError(f"{where}: characters {str(characters)[:40]!r}; they are a whole number")
        names.add(tuple(one_line(str(row.get(name, ""))) for name in NAMES))
        found[uid] = Pair(uid, str(row.get("category", "")), (scores[0], scores[1]), row)
    if len(names) > 1:
        both = ", ".join(f"{model} by {judge}" for judge, model in sorted(names))
        raise InputError(f"{path}: judgments of {both}; give a file of one model by one judge")
    return tuple(found.values())


def _score(game: Any, where: str) -> str | None:  # noqa: ANN401 - a JSON value
    """A game's label; a game that failed is null in the project's files."""
    score = game.get("score") if isinstance(game, dict) else None
    if score is not None and (not isinstance(score, str) or score not in LABELS):
        raise InputError(f"{where}: verdict {str(score)[:40]!r}; there are {', '.join(LABELS)}, and null")
    return score


def _content(row: dict[str, Any], index: int) -> Any:  # noqa: ANN401 - a JSON value
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[index], dict):
        return None
    return messages[index].get("content")
