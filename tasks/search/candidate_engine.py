"""The engine behind a search's candidates: one for every α, or one for each.

    WORK/live/engine.log   the engine's log
    WORK/unserved.txt      that vLLM does not serve the adapter on its base model
    WORK/merged/           the aligned model, where that is an adapter and is merged
    WORK/unfit.txt         that the engine's own check of new weights has failed
    WORK/model/            of the α that is served from files, where new weights are not to be had

Where θ(α) is the aligned adapter at another scale, the engine loads the SFT model and answers with one
adapter after another (`tasks.search.adapter_candidates`); an adapter that vLLM does not serve is merged.
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
from tasks.search.adapter_candidates import scaled_adapter, served_base
from tasks.stores.artefact import Artefact
from tasks.stores.disk import remove_tree
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import AdapterMode, Recipe

__all__ = ["CandidateEngine"]


class CandidateEngine:
    """Obeys orders of any α; it starts with the first one, and runs until it is ended.

    scales_adapter  whether θ(α) is served as an adapter on the SFT model
    takes_weights   if not, whether θ(α) goes into the running engine's weights
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
        self._unfit, self._unserved = work / "unfit.txt", work / "unserved.txt"
        self.scales_adapter = recipe_at(0.0).adapter == "scale" and not self._unserved.is_file()
        self.takes_weights = not spans_nodes() and not self._unfit.is_file()

    @property
    def way(self) -> str:
        """How θ(α) gets into an engine."""
        if self.scales_adapter:
            return "adapter at its scale"
        return "weights replaced in place" if self.takes_weights else "one engine for each α"

    @property
    def adapter(self) -> AdapterMode | None:
        """What is made of an aligned adapter; None for a whole checkpoint."""
        stated = self._recipe_at(0.0).adapter
        return "merge" if stated and not self.scales_adapter else stated

    def recipe(self, alpha: float) -> Recipe:
        """Of a candidate, by its number, as it is served."""
        return self._recipe_at(alpha).model_copy(update={"adapter": self.adapter})

    def settle(self, *, may_merge: bool) -> None:
        """Starts an engine with the adapter, unless one runs; if it is unserved, recipes are of merges now.

        Args:
            may_merge: False once a search has measured the adapter as it was served.

        Raises:
            UnfitError: vLLM does not serve the adapter, and it may not be merged any more.
            ExpoError: as `obey`.
        """
        if not self.scales_adapter or self._engine is not None:
            return
        try:
            self._start_with(self._aligned.folder())
        except UnfitError as error:
            if not may_merge:
                raise
            self._say(f"{error}. The adapter is merged into the SFT model for each α")
            write_whole(self._unserved, f"{error}\n".encode())
            self.scales_adapter = False

    def obey(self, alpha: float, order: LiveOrder) -> None:
        """Answers an order of θ(α), once `settle` was called; what the order answers with is filled in.

        Raises:
            RetryableError: the engine died.
            ExpoError: whatever the engine raises.
        """
        if self.scales_adapter:
            adapter = scaled_adapter(self._work, self.recipe(alpha), self._aligned, self._sft)
            self._send(order.model_copy(update={"adapter": str(adapter)}))
            return
        if self.takes_weights and self._engine is None:
            try:
                self._start(self._model_at_zero(), takes_weights=True)
            except UnfitError as error:
                self._say(f"{error}. Each α is written to files and served by an engine of its own")
                self.takes_weights = False
                write_whole(self._unfit, f"{error}\n".encode())
        if self.takes_weights:
            self._send(order.model_copy(update={"recipe": self.recipe(alpha)}))
        else:
            self._serve_files(alpha)
            self._send(order.model_copy(update={"nonfinite": self._nonfinite}))

    def obey_from(self, model: Path, order: LiveOrder) -> None:
        """The same by an engine that has loaded a model's files; the running one ends before."""
        self.end()
        if self.scales_adapter:
            self._start_with(model)
            self._send(order.model_copy(update={"adapter": str(model)}))
        else:
            self._start(model, takes_weights=False)
            self._send(order)
        self.end()

    def end(self) -> None:
        """Ends the engine, if one runs."""
        self._stack.close()
        self._engine, self._loaded, self._nonfinite = None, None, 0

    def _send(self, order: LiveOrder) -> None:
        assert self._engine is not None
        self._engine.obey(order)

    def _start_with(self, adapter: Path) -> None:
        """An engine with the SFT model, and adapters like this one."""
        job = self._job(served_base(self._work, self._aligned, self._sft))
        self._engine = self._stack.enter_context(
            live_engine(job, pair=None, sft=None, adapter=adapter, advance=self._advance, python=self._python)
        )

    def _start(self, model: Path, *, takes_weights: bool) -> None:
        original = self.recipe(0.0)
        pair, sft = (original, self._sft.folder()) if takes_weights else (None, None)
        aligned = self._aligned.folder() if takes_weights and original.adapter else None
        self._engine = self._stack.enter_context(
            live_engine(
                self._job(model),
                pair=pair,
                sft=sft,
                aligned=aligned,
                advance=self._advance,
                python=self._python,
            )
        )

    def _job(self, model: Path) -> GenerationJob:
        return GenerationJob(
            model=str(model),
            instructions=str(self._prompts),
            output=str(self._work / "live"),
            settings=self._settings,
            generator="search",
            benchmark=DEFAULT,
            form="instructions",
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
        if not self.adapter:
            return self._aligned.folder()
        folder = self._work / "merged"
        if Artefact(str(folder)).manifest() is None:
            self._write_files(0.0, folder)
        return folder

    def _write_files(self, alpha: float, folder: Path) -> Manifest:
        plan = make_plan(self.recipe(alpha), self._aligned, self._sft)
        return extrapolate(plan, self._aligned, self._sft, Artefact(str(folder)))
