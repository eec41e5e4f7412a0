"""The engine behind a search's candidates: one for every α, or one for each.

    WORK/live/engine.log   the engine's log
    WORK/merged/           the aligned model, where that is an adapter
    WORK/unfit.txt         that the engine's own check of new weights has failed
    WORK/model/            of the α that is served from files, where new weights are not to be had

Where new weights in a running engine are not to be had (the engine's own check fails, or the model's
workers are on several nodes, which may not have the checkpoints), each α is written to files and served by
an engine of its own.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tasks.benchmarks.table import DEFAULT
from tasks.generation.answers import write_whole
from tasks.generation.devices import spans_nodes
from tasks.generation.live_orders import LiveOrder
from tasks.generation.live_session import LiveEngine, UnfitError, live_engine
from tasks.generation.settings import GenerationJob, GenerationSettings
from tasks.stores.artefact import Artefact
from tasks.stores.disk import remove_tree
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe

__all__ = ["CandidateEngine"]


class CandidateEngine:
    """Obeys orders of any α; it starts with the first one, and runs until it is ended.

    takes_weights  whether θ(α) goes into the running engine
    """

    def __init__(
        self,
        work: Path,
        recipe_at: Callable[[float], Recipe],
        aligned: Source,
        sft: Source,
        settings: GenerationSettings,
        prompts: Path,
        *,
        advance: Callable[[int], None],
        say: Callable[[str], None],
        python: str | None,
    ) -> None:
        """
        Args:
            recipe_at: the recipe of a candidate by its number; for 0 it is the aligned model's.
            prompts: a file of all prompts, in AlpacaEval's form.
            say: takes a sentence for the user, about a fallback.
        """
        self._work, self._recipe_at, self._settings = work, recipe_at, settings
        self._aligned, self._sft, self._prompts = aligned, sft, prompts
        self._advance, self._say, self._python = advance, say, python
        self._stack = ExitStack()
        self._engine: LiveEngine | None = None
        self._loaded: float | None = None  # α of the files that it has loaded, where it takes no other
        self._nonfinite = 0
        self._unfit = work / "unfit.txt"
        self.takes_weights = not spans_nodes() and not self._unfit.is_file()

    def obey(self, alpha: float, order: LiveOrder) -> None:
        """Answers an order of θ(α), whose recipe is filled in.

        Raises:
            RetryableError: the engine died.
            ExpoError: whatever the engine raises.
        """
        if self.takes_weights and self._engine is None:
            try:
                self._start(self._model_at_zero(), takes_weights=True)
            except UnfitError as error:
                self._say(f"{error}. Each α is written to files and served by an engine of its own")
                self.takes_weights = False
                write_whole(self._unfit, f"{error}\n".encode())
        if self.takes_weights:
            order = order.model_copy(update={"recipe": self._recipe_at(alpha)})
        else:
            self._serve_files(alpha)
            order = order.model_copy(update={"nonfinite": self._nonfinite})
        assert self._engine is not None
        self._engine.obey(order)

    def obey_from(self, model: Path, order: LiveOrder) -> None:
        """The same by an engine that has loaded a model's files; the running one ends before."""
        self.end()
        self._start(model, takes_weights=False)
        assert self._engine is not None
        self._engine.obey(order)
        self.end()

    def end(self) -> None:
        """Ends the engine, if one runs."""
        self._stack.close()
        self._engine, self._loaded, self._nonfinite = None, None, 0

    def _start(self, model: Path, *, takes_weights: bool) -> None:
        job = GenerationJob(
            model=str(model),
            instructions=str(self._prompts),
            output=str(self._work / "live"),
            settings=self._settings,
            generator="search",
            benchmark=DEFAULT,
            form="instructions",
        )
        original = self._recipe_at(0.0)
        pair, sft = (original, self._sft.folder()) if takes_weights else (None, None)
        adapter = self._aligned.folder() if takes_weights and original.adapter else None
        self._engine = self._stack.enter_context(
            live_engine(job, pair=pair, sft=sft, aligned=adapter, advance=self._advance, python=self._python)
        )

    def _serve_files(self, alpha: float) -> None:
        if self._engine is not None and self._loaded == alpha:
            return
        self.end()
        folder = self._work / "model"
        remove_tree(folder, self._work)  # of the α before
        if alpha:
            manifest = self._write_files(alpha, folder)
            self._nonfinite = sum(tensor.nonfinite for tensor in manifest.statistics)
        self._start(folder if alpha else self._model_at_zero(), takes_weights=False)
        self._loaded = alpha

    def _model_at_zero(self) -> Path:
        """The aligned model's folder; an adapter is merged for it, once."""
        if not self._recipe_at(0.0).adapter:
            return self._aligned.folder()
        folder = self._work / "merged"
        if Artefact(str(folder)).manifest() is None:
            self._write_files(0.0, folder)
        return folder

    def _write_files(self, alpha: float, folder: Path) -> Manifest:
        plan = make_plan(self._recipe_at(alpha), self._aligned, self._sft)
        return extrapolate(plan, self._aligned, self._sft, Artefact(str(folder)))
