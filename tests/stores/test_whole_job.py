"""The whole extrapolation with its parents on the Hub or S3 and its model in either kind of store."""

from pathlib import Path

from tasks.stores.artefact import Artefact, Store
from tasks.stores.folder_source import FolderSource
from tasks.stores.open import open_source
from tasks.stores.source import Source
from tasks.weights.extrapolation import extrapolate
from tasks.weights.manifest import Manifest
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tests.servers.hub import HubServer
from tests.weights.checkpoints import pair


def _model(aligned: Source, sft: Source, model: Artefact) -> dict[str, str]:
    recipe = Recipe(aligned=aligned.checkpoint, sft=sft.checkpoint, alpha=0.3)
    manifest = extrapolate(make_plan(recipe, aligned, sft), aligned, sft, model)
    assert Manifest.model_validate_json(model.manifest() or b"") == manifest
    return {file.name: file.sha256 for file in manifest.files}


def test_parents_on_the_hub(hub: HubServer, store: Store, tmp_path: Path) -> None:
    _, aligned, sft = pair(tmp_path / "pair")
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    expected = _model(aligned, sft, Artefact(str(tmp_path / "expected")))

    model = store.artefact("models", "a1b2")
    assert _model(open_source("org/aligned"), open_source("org/sft"), model) == expected
    assert set(model.names()) == {*expected, "manifest.json"}
    assert {name: model.sha256(name) for name in expected} == expected


def test_parents_in_a_store(store: Store, tmp_path: Path) -> None:
    _, aligned, sft = pair(tmp_path / "pair")
    expected = _model(aligned, sft, Artefact(str(tmp_path / "expected")))
    new = _copy(aligned, store.artefact("parents", "aligned"))
    old = _copy(sft, store.artefact("parents", "sft"))
    assert _model(new, old, store.artefact("models", "a1b2")) == expected


def test_planning_fetches_no_weights(hub: HubServer, tmp_path: Path) -> None:
    _, aligned, sft = pair(tmp_path)
    hub.add("org/aligned", aligned.folder())
    hub.add("org/sft", sft.folder())
    new, old = open_source("org/aligned"), open_source("org/sft")
    make_plan(Recipe(aligned=new.checkpoint, sft=old.checkpoint, alpha=0.3), new, old)
    assert hub.asked(r"GET /cdn/\S+ bytes=(0-7|8-\d{3})$") == hub.asked("GET /cdn/") > 0


def _copy(source: FolderSource, artefact: Artefact) -> Source:
    for name in source.files():
        artefact.copy_in(source.fetch(name), name)
    return open_source(artefact.uri)
