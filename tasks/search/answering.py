"""The candidates' answers: from the journals of earlier tries, else from an engine.

    WORK/choosing.json              the prompts of each half, and of each guard
    WORK/own.json                   the aligned model's first answers, for the probe
    WORK/alpha-0.5/probe.json       what is known of θ(0.5) without an answer of its own
    WORK/alpha-0.5/choosing/        the journal of its answers

The engine (`tasks.search.candidate_engine`) starts when something is missing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import NamedTuple, Self

from tasks.core.values import canonical_json, fingerprint
from tasks.generation.answer_journal import Answer, Batch, most_complete
from tasks.generation.answers import write_whole
from tasks.generation.live_orders import LiveOrder, Probe, ProbeTexts
from tasks.generation.rounds import answers_in_order
from tasks.generation.settings import GenerationSettings
from tasks.search.candidate_engine import CandidateEngine
from tasks.search.held_out import HeldOut
from tasks.search.rails import Vitals
from tasks.stores.source import Source
from tasks.weights.recipe import AdapterMode, Recipe

__all__ = ["CandidateAnswers", "Totals"]

OWN_ANSWERS = 32  # of the aligned model, whose log-probability is a rail


class Totals(NamedTuple):
    """How many answers were made, of how many tokens, and the seconds that it took."""

    answers: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def plus(self, other: "Totals") -> "Totals":
        """Both together."""
        return Totals(self.answers + other.answers, self.tokens + other.tokens, self.seconds + other.seconds)


class CandidateAnswers:
    """Answers of θ(α) to the held-out prompts, for any α; a context that ends the engine."""

    def __init__(
        self,
        work: Path,
        recipe: Recipe,
        aligned: Source,
        sft: Source,
        settings: GenerationSettings,
        prompts: HeldOut,
        *,
        recipe_at: Callable[[float], Recipe] | None = None,
        guards: Mapping[str, Sequence[str]] | None = None,
        advance: Callable[[int], None],
        say: Callable[[str], None],
        python: str | None = None,
    ) -> None:
        """
        Args:
            recipe: of the pair, at whatever α.
            recipe_at: the recipe of a candidate by its number, which for 0 is the aligned model's;
                None: the pair's at this α.
            guards: questions of benchmarks that are rails, by the part's name.
            settings: whose batches are the rounds' unit: what a killed engine costs at most.
            say: takes a sentence for the user, about a fallback.
        """
        self._work, self._settings = work, settings
        self._recipe, self._recipe_at = recipe, recipe_at
        self._prompts: dict[str, tuple[str, ...]] = {
            "choosing": prompts.choosing,
            "confirming": prompts.confirming,
            **{name: tuple(questions) for name, questions in (guards or {}).items()},
        }
        self._own_answers = work / "own.json"
        work.mkdir(parents=True, exist_ok=True)
        for part, texts in self._prompts.items():
            _write_prompts(self._file(part), texts)
        _write_prompts(work / "prompts.json", [text for texts in self._prompts.values() for text in texts])
        self._engine = CandidateEngine(
            work,
            self._at,
            aligned,
            sft,
            settings,
            work / "prompts.json",
            advance=advance,
            say=say,
            python=python,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.end()

    @property
    def engine(self) -> str:
        """Name and version of what answered, and how θ(α) got into it; once something was answered."""
        found = most_complete(self._folder(0.0) / "choosing", self._name(0.0))
        version = found[0].engine if found else "unknown"
        return f"{version}, {self._engine.way}"

    @property
    def adapter(self) -> AdapterMode | None:
        """What the answers are of, where the aligned side is an adapter: of it at a scale, or of a merge."""
        return self._engine.adapter

    def answers(self, part: str, alpha: float, count: int) -> list[Answer]:
        """The first `count` answers of θ(α) to a part of the prompts; what is missing is made.

        Raises:
            RetryableError: the engine died; the same call continues behind the last whole batch.
            ExpoError: whatever the engine raises.
        """
        folder = self._folder(alpha) / part
        batches = self._batches(folder, alpha)
        if not self._covers(batches, count):
            folder.mkdir(parents=True, exist_ok=True)
            self._settle()
            self._engine.obey(alpha, self._order(alpha, part, count))
            batches = self._batches(folder, alpha)
        return answers_in_order(batches)[:count]

    def probe(self, alpha: float) -> Probe:
        """What is known of θ(α) without an answer; measured on the aligned model's own first answers."""
        path = self._folder(alpha) / "probe.json"
        if not path.is_file():
            self._write_own_answers()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._settle()
            order = self._order(alpha, "choosing", 0)
            changes = {"own_answers": str(self._own_answers), "probe": str(path)}
            self._engine.obey(alpha, order.model_copy(update=changes))
        return Probe.model_validate_json(path.read_bytes())

    def vitals(self, part: str, alpha: float, count: int) -> Vitals:
        """Of the first `count` answers."""
        own = min(OWN_ANSWERS, len(self._prompts["choosing"]), self._settings.batch_size)
        self.answers("choosing", 0.0, own)  # the probe asks for them
        probe = self.probe(alpha)
        answers = self.answers(part, alpha, count)
        return Vitals(
            prompts=count,
            unended=fmean(answer.finish_reason != "stop" for answer in answers),
            repeating=fmean(answer.looping for answer in answers),
            mean_characters=fmean(len(answer.output) for answer in answers),
            nonfinite=probe.nonfinite + probe.damaged,
            log_probability=probe.log_probability,
        )

    def of_files(self, model: Path, alpha: float, count: int) -> list[Answer]:
        """The first `count` answers to the confirming half by an engine that has loaded a model's files.

        The running engine ends before.
        """
        folder = self._work / f"files-{alpha:g}"
        folder.mkdir(exist_ok=True)
        order = self._order(alpha, "confirming", count)
        self._engine.obey_from(model, order.model_copy(update={"folder": str(folder)}))
        return answers_in_order(self._batches(folder, alpha))[:count]

    def totals(self, *, zero: bool = True) -> Totals:
        """Of all candidates and over all tries; with or without those of 0."""
        every = [
            batch
            for folder in self._work.glob("alpha-*/*/")
            if zero or folder.parent != self._folder(0.0)
            for batch in self._batches(folder, float(folder.parent.name.removeprefix("alpha-"))).values()
        ]
        made = [answer for batch in every for answer in batch.answers]
        return Totals(len(made), sum(answer.tokens for answer in made), sum(batch.seconds for batch in every))

    def _batches(self, folder: Path, alpha: float) -> dict[int, Batch]:
        found = most_complete(folder, self._name(alpha)) if folder.is_dir() else None
        return found[1] if found else {}

    def _covers(self, batches: dict[int, Batch], count: int) -> bool:
        size = self._settings.batch_size
        needed = range(-(-count // size))
        return all(
            number in batches and len(batches[number].answers) >= min(size, count - number * size)
            for number in needed
        )

    def _order(self, alpha: float, part: str, stop: int) -> LiveOrder:
        return LiveOrder(
            recipe=None,
            fingerprint=self._name(alpha),
            folder=str(self._folder(alpha) / part),
            prompts=str(self._file(part)),
            stop=stop,
        )

    def _settle(self) -> None:
        """Before an order: its fingerprint depends on how an adapter is served."""
        self._engine.settle(may_merge=not self._own_answers.is_file())

    def _write_own_answers(self) -> None:
        if self._own_answers.is_file():
            return
        count = min(OWN_ANSWERS, len(self._prompts["choosing"]), self._settings.batch_size)
        answers = tuple(answer.output for answer in self.answers("choosing", 0.0, count))
        texts = ProbeTexts(prompts=self._prompts["choosing"][:count], answers=answers)
        write_whole(self._own_answers, canonical_json(texts))

    def _at(self, alpha: float) -> Recipe:
        changes: dict[str, object] = {"nonfinite": "allow"}
        if self._recipe_at is not None:
            return self._recipe_at(alpha).model_copy(update=changes)
        return self._recipe.model_copy(update=changes | {"alpha": alpha})

    def _name(self, alpha: float) -> str:
        """Of everything that decides a candidate's answers, but for how many there are."""
        return fingerprint(self._engine.recipe(alpha), self._settings, {"prompts": self._prompts})

    def _folder(self, alpha: float) -> Path:
        return self._work / f"alpha-{alpha:g}"

    def _file(self, part: str) -> Path:
        return self._work / f"{part}.json"


def _write_prompts(path: Path, texts: Sequence[str]) -> None:
    """Unless they are there from an earlier try."""
    content = json.dumps([{"instruction": text} for text in texts], ensure_ascii=False).encode()
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)
