"""Adapters from and to wherever models are: the Hub, S3, by ranges, and published."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.core.errors import InputError
from tasks.publishing.commit import find_published
from tasks.publishing.publication import extrapolate_and_publish, publish_with_card
from tasks.stores.artefact import Artefact, Store
from tasks.stores.open import open_source, reopen
from tasks.weights.adapter_base import adapter_mode, open_parents
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.manifest import Manifest
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.planner import make_plan
from tasks.weights.recipe import Recipe
from tasks.weights.verify import verify
from tests.servers.hub import WRITE_TOKEN, HubServer
from tests.weights.checkpoints import write_checkpoint

MODULES = tuple(f"model.layers.{n}.self_attn.q_proj" for n in range(3))
WEIGHTS = r"GET /cdn/"
SCALED = "adapter_model.safetensors"
ALPHA = 0.5


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An adapter of rank 4 and the SFT model, a tensor in each of its shards; the adapter names a hub id."""
    monkeypatch.setenv("EXPO_CACHE", str(tmp_path / "expo-cache"))
    generator = torch.Generator().manual_seed(5)
    weights = {f"{name}.weight": torch.randn(48, 32, generator=generator).bfloat16() for name in MODULES}
    base = write_checkpoint(tmp_path / "sft", weights, cuts=[1, 2]).folder()
    factors = {}
    for name in MODULES:
        factors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(4, 32, generator=generator)
        factors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(48, 4, generator=generator)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file(factors, adapter / SCALED, {"format": "pt"})
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "org/sft"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    return adapter, base


def plan_of(aligned: str, sft: str | None, merge: bool) -> tuple[Plan, Parents]:
    parents = open_parents(aligned, sft)
    recipe = Recipe(
        aligned=parents.aligned.checkpoint,
        sft=parents.sft.checkpoint,
        alpha=ALPHA,
        adapter=adapter_mode(parents.aligned, merge),
    )
    return make_plan(recipe, *parents), parents


def make(aligned: str, sft: str | None, out: Artefact, merge: bool = False, stream: bool = False) -> Manifest:
    plan, parents = plan_of(aligned, sft, merge)
    return extrapolate(plan, *parents, out, PassOptions(inputs="stream" if stream else "download"))


def weights_in(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files if file.name.endswith(".safetensors")}


@pytest.mark.parametrize("merge", [False, True], ids=["scale", "merge"])
def test_hub_ids(hub: HubServer, folders: tuple[Path, Path], tmp_path: Path, merge: bool) -> None:
    """Without --sft the base is the repository that the adapter names; both are pinned to commits."""
    adapter, base = folders
    commits = {name: hub.add(f"org/{name}", folder) for name, folder in (("adapter", adapter), ("sft", base))}
    expected = make(str(adapter), str(base), Artefact(str(tmp_path / "expected")), merge)
    hub.log.clear()
    made = make("org/adapter", None, Artefact(str(tmp_path / "out")), merge)
    assert weights_in(made) == weights_in(expected)
    recipe = made.recipe
    assert (recipe.aligned.uri, recipe.aligned.commit) == ("org/adapter", commits["adapter"])
    assert (recipe.sft.uri, recipe.sft.commit) == ("org/sft", commits["sft"])
    assert verify(open_source(str(tmp_path / "out")), reopen, "all").differences == ()
    held = [path for path in (tmp_path / "cache").rglob("model-*.safetensors") if path.is_file()]
    assert len(held) == (3 if merge else 0), "a scale reads no weights of the base"


@pytest.mark.parametrize("merge", [False, True], ids=["scale", "merge"])
def test_stores(
    hub: HubServer, store: Store, folders: tuple[Path, Path], tmp_path: Path, merge: bool
) -> None:
    """Adapter, base and output under a folder or an s3:// prefix."""
    expected = make(str(folders[0]), str(folders[1]), Artefact(str(tmp_path / "expected")), merge)
    for name, folder in zip(("adapter", "sft"), folders, strict=True):
        artefact = store.artefact("parents", name)
        for path in folder.iterdir():
            artefact.copy_in(path, path.name)
    parents = f"{store.uri}/parents"
    out = store.artefact("models", "a1b2")
    made = make(f"{parents}/adapter", f"{parents}/sft", out, merge)
    assert weights_in(made) == weights_in(expected)
    assert verify(open_source(out.uri), reopen, "all").differences == ()


def test_streamed(hub: HubServer, folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A merge by ranges: the same bytes, and of the base no file on this disk."""
    adapter, base = folders
    hub.add("org/adapter", adapter)
    hub.add("org/sft", base)
    expected = make(str(adapter), str(base), Artefact(str(tmp_path / "expected")), merge=True)
    made = make("org/adapter", None, Artefact(str(tmp_path / "out")), merge=True, stream=True)
    assert weights_in(made) == weights_in(expected)
    assert made.statistics == expected.statistics
    assert not list((tmp_path / "cache").rglob("model-*.safetensors"))
    assert {check.check for check in made.inputs} == {"sha256"}


@pytest.mark.parametrize("merge", [False, True], ids=["scale", "merge"])
def test_straight_to_the_hub_as_by_a_folder(
    hub: HubServer,
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    merge: bool,
) -> None:
    """One private commit with weights, manifest and a card that says what it is."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    adapter, base = folders
    hub.add("org/adapter", adapter)
    hub.add("org/sft", base)
    out = Artefact(str(tmp_path / "out"))
    make("org/adapter", None, out, merge)
    publish_with_card(out, "lab/by-folder")
    plan, parents = plan_of("org/adapter", None, merge)
    assert find_published("lab/straight", plan.recipe.fingerprint) is None
    extrapolate_and_publish(plan, parents, "lab/straight", PassOptions(inputs="stream"))
    repo = hub.repos["lab/straight"]
    straight, by_folder = dict(repo.head.files), dict(hub.repos["lab/by-folder"].head.files)
    card = straight.pop("README.md").content.decode()
    assert card == by_folder.pop("README.md").content.decode().replace("by-folder", "straight")
    assert ("base_model_relation: adapter" in card) is not merge and repo.private
    straight.pop("manifest.json"), by_folder.pop("manifest.json")  # how inputs were read differs
    assert straight == by_folder
    assert ("adapter_config.json" in straight) is not merge
    assert verify(open_source("lab/straight"), reopen, "all").differences == ()
    if not merge:
        assert json.loads(straight["adapter_config.json"].content)["lora_alpha"] == 8 * (1 + ALPHA)


def test_a_base_that_is_not_on_the_hub(hub: HubServer, folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Refused with what to do; a local copy, given as --sft, is taken."""
    adapter, base = folders
    hub.add("org/adapter", adapter)
    with pytest.raises(InputError, match=r"org/sft cannot be opened.*give it as --sft"):
        open_parents("org/adapter", None)
    make("org/adapter", str(base), Artefact(str(tmp_path / "out")))
    assert load_file(tmp_path / "out" / SCALED).keys() == load_file(adapter / SCALED).keys()


def test_no_way_to_the_hub(
    hub: HubServer,
    folders: tuple[Path, Path],
    tmp_path: Path,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The base that the adapter names cannot be compared; the one that was given is taken, with a warning."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    make(str(folders[0]), str(folders[1]), Artefact(str(tmp_path / "out")))
    assert waits and "org/sft, is not here" in caplog.text
