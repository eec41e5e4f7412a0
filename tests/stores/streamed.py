"""Two checkpoints on the Hub or in a store, and the model that is made of them by range requests."""

from pathlib import Path

import torch

from tasks.stores.artefact import Artefact, Store
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.pass_options import PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.servers.hub import HubServer
from tests.weights.checkpoints import Tensors

RANGE = r"GET /cdn/\S+ bytes="


def random_tensors(seed: int = 7, count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"layers.{n}.weight": torch.randn(37, 51, generator=generator).bfloat16() for n in range(count)}


def moved(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: (tensor.float() + 0.01).bfloat16() for name, tensor in tensors.items()}


def on_hub(hub: HubServer, aligned: FolderSource, sft: FolderSource) -> tuple[Source, Source]:
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    return open_source("org/aligned"), open_source("org/sft")


def in_store(store: Store, aligned: FolderSource, sft: FolderSource) -> tuple[Source, Source]:
    for name, source in (("aligned", aligned), ("sft", sft)):
        artefact = store.artefact("parents", name)
        for file in source.files():
            artefact.copy_in(source.fetch(file), file)
    return open_source(f"{store.uri}/parents/aligned"), open_source(f"{store.uri}/parents/sft")


def make_model(
    aligned: Source, sft: Source, out: Path | Artefact, streamed: bool = True, dequantize: bool = False
) -> Manifest:
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3, dequantize=dequantize)
    plan = make_plan(recipe, aligned, sft)
    model = out if isinstance(out, Artefact) else Artefact(str(out))
    return extrapolate(
        plan, aligned, sft, model, options=PassOptions(inputs="stream" if streamed else "download", workers=2)
    )


def digests_of(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files}
