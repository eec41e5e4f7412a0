"""A pair on disk for vLLM: models written at some α, jobs for fresh engines, orders for a live one."""

import json
from pathlib import Path

from tasks.comparison.decoding import settings_of
from tasks.core.families import find_family
from tasks.generation.answer_journal import Answer, read_batches
from tasks.generation.live_orders import LiveOrder
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.adapter import is_adapter
from tasks.weights.adapter_base import adapter_mode
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.weights.adapters import save_adapter
from tests.zoo.tiny_architectures import write_architecture
from tests.zoo.write import write_zoo

__all__ = ["QUESTIONS", "EnginePair", "adapter_pair", "architecture_pair", "family_pair", "folders_pair"]

QUESTIONS = tuple(f"Question {number}: why is the sky that blue today?" for number in range(12))
SHORT = {"sampling": Sampling(max_tokens=40), "tensor_parallel_size": 1, "batch_size": 4}


class EnginePair:
    """Two checkpoints, with a folder for what is made of them."""

    def __init__(
        self, folder: Path, aligned: FolderSource, sft: FolderSource, settings: GenerationSettings
    ) -> None:
        self.folder, self.aligned, self.sft = folder, aligned, sft
        self.settings = settings.model_copy(update=SHORT)
        self.prompts = folder / "prompts.json"
        self.prompts.write_text(json.dumps([{"instruction": text} for text in QUESTIONS]))

    def recipe(self, alpha: float) -> Recipe:
        """θ(α) of the pair; of an adapter as a whole model."""
        return Recipe(
            aligned=self.aligned.checkpoint,
            sft=self.sft.checkpoint,
            alpha=alpha,
            adapter=adapter_mode(self.aligned, merge=is_adapter(self.aligned)),
        )

    def write(self, alpha: float) -> Path:
        """The folder of the model θ(α), written as `expo extrapolate` writes it."""
        model = self.folder / f"model-{alpha:g}"
        plan = make_plan(self.recipe(alpha), self.aligned, self.sft)
        extrapolate(plan, self.aligned, self.sft, Artefact(str(model)))
        return model

    def job(self, model: Path, output: str) -> GenerationJob:
        """All questions to a model; its answers lie in the folder `output`."""
        return GenerationJob(
            model=str(model),
            instructions=str(self.prompts),
            output=str(self.folder / output),
            settings=self.settings,
            generator="test",
            benchmark="alpaca_eval",
            form="instructions",
        )

    def order(self, alpha: float, folder: str, stop: int = len(QUESTIONS)) -> LiveOrder:
        """The first `stop` questions to θ(α) in a live engine."""
        (self.folder / folder).mkdir(exist_ok=True)
        return LiveOrder(
            recipe=self.recipe(alpha),
            fingerprint=f"α={alpha}",
            folder=str(self.folder / folder),
            prompts=str(self.prompts),
            stop=stop,
        )

    def answers(self, folder: str) -> list[Answer]:
        """What lies in the one journal of a folder, in the order of the questions."""
        (batches,) = read_batches(self.folder / folder).values()
        return [answer for number in sorted(batches) for answer in batches[number].answers]


def family_pair(folder: Path, name: str) -> EnginePair:
    """The stand-in of one of the fourteen families."""
    entry = find_family(name)
    folders = write_zoo(folder, (name,))
    aligned, sft = FolderSource(folders[entry.aligned]), FolderSource(folders[entry.sft])
    return EnginePair(folder, aligned, sft, settings_of(entry))


def architecture_pair(folder: Path, name: str) -> EnginePair:
    """A tiny pair of another architecture."""
    folder.mkdir(parents=True, exist_ok=True)
    return EnginePair(folder, *write_architecture(folder, name), GenerationSettings())


def adapter_pair(folder: Path, base: str) -> EnginePair:
    """A LoRA adapter, by peft, on the SFT side of an architecture's pair."""
    folder.mkdir(parents=True, exist_ok=True)
    _, sft = write_architecture(folder, base)
    save_adapter(sft.folder(), folder / "adapter")
    return EnginePair(folder, FolderSource(folder / "adapter"), sft, GenerationSettings())


def folders_pair(folder: Path, aligned: Path, sft: Path) -> EnginePair:
    """Two checkpoints that are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    return EnginePair(folder, FolderSource(aligned), FolderSource(sft), GenerationSettings())
