"""Named shapes of α: what each module gets, and that written models have it."""

from pathlib import Path

import pytest
import torch

from tasks.core.errors import MismatchError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.modules import alpha_of
from tasks.weights.pair_settings import PairSettings
from tasks.weights.pass_options import Parents
from tasks.weights.planner import make_plan
from tasks.weights.presets import preset_factors, shaped
from tests.weights.checkpoints import read_tensors
from tests.weights.models import save_llama

NAMES = (
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{name}"
        for layer in range(4)
        for name in (
            "self_attn.q_proj.weight",
            "self_attn.q_proj.bias",
            "self_attn.q_norm.weight",
            "mlp.up_proj.weight",
            "input_layernorm.weight",
        )
    ),
    "model.norm.weight",
    "lm_head.weight",
)


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Parents:
    folder = tmp_path_factory.mktemp("pair")
    save_llama(folder / "aligned", 1, torch.float32, tied=False)
    save_llama(folder / "sft", 2, torch.float32, tied=False)
    return Parents(FolderSource(folder / "aligned"), FolderSource(folder / "sft"))


def _alphas(parents: Parents, preset: str, alpha: float) -> dict[str, float]:
    factors = preset_factors("lines" if preset == "lines" else "fusionbench", NAMES)
    settings = shaped(PairSettings().recipe(parents, alpha), factors, alpha)
    return {name: alpha_of(settings, name) for name in NAMES}


def test_fusionbench_is_half_in_attention_and_nothing_outside_of_the_layers_weights(parents: Parents) -> None:
    found = _alphas(parents, "fusionbench", 0.6)
    assert {name for name, alpha in found.items() if alpha == 0.6} == {
        name for name in NAMES if "up_proj" in name
    }
    assert {name for name, alpha in found.items() if alpha == 0.3} == {
        name for name in NAMES if name.endswith("q_proj.weight")
    }
    assert all(found[name] == 0 for name in NAMES if "norm" in name or "bias" in name)
    assert found["lm_head.weight"] == found["model.embed_tokens.weight"] == 0


def test_lines_grows_with_depth_up_to_the_head(parents: Parents) -> None:
    found = _alphas(parents, "lines", 2.0)
    layers = [found[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in range(4)]
    assert layers == [0.5, 1.0, 1.5, 2.0]
    assert found["model.embed_tokens.weight"] == 0
    assert found["model.norm.weight"] == found["lm_head.weight"] == 2.0


def test_lines_needs_layers() -> None:
    with pytest.raises(MismatchError, match="no tensor's name has a layer's number"):
        preset_factors("lines", ["weight"])


def test_fusionbench_needs_to_know_what_attention_is() -> None:
    names = [name.replace("self_attn", "mixer") for name in NAMES]
    with pytest.raises(MismatchError, match=r"no tensor's name, such as model\.embed_tokens\.weight, tells"):
        preset_factors("fusionbench", names)
    assert preset_factors("lines", names)


def test_a_preset_is_written_as_it_says(tmp_path: Path, parents: Parents) -> None:
    settings = PairSettings(preset="fusionbench").recipe(parents, 0.5)
    extrapolate(make_plan(settings, *parents), *parents, Artefact(str(tmp_path / "out")))
    written = read_tensors(tmp_path / "out")
    aligned = read_tensors(Path(parents.aligned.folder()))
    sft = read_tensors(Path(parents.sft.folder()))
    name = "model.layers.1.self_attn.q_proj.weight"
    torch.testing.assert_close(written[name], aligned[name] + 0.25 * (aligned[name] - sft[name]))
    assert torch.equal(written["lm_head.weight"], aligned["lm_head.weight"])
    assert not torch.equal(aligned["lm_head.weight"], sft["lm_head.weight"])
