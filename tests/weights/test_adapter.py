"""Adapters as they are found: how they are read, which base model they are on, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.core.errors import CorruptError, InputError, MismatchError
from tasks.stores.folder_source import FolderSource
from tasks.weights.adapter import is_adapter, read_adapter
from tasks.weights.adapter_base import adapter_mode, open_parents
from tasks.weights.adapter_pairing import pair_adapter
from tasks.weights.checkpoint import read_checkpoint
from tests.weights.adapters import edit_config, make, save_adapter
from tests.weights.models import save_llama


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model `sft` and an adapter on it, for tests that copy them."""
    folder = tmp_path_factory.mktemp("adapter")
    save_llama(folder / "sft", seed=1, tied=False)
    save_adapter(folder / "sft", folder / "adapter")
    return folder


@pytest.fixture
def adapter(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "adapter", tmp_path / "adapter"))


def rename(adapter: Path, *words: tuple[str, str]) -> None:
    """Other names for the adapter's tensors."""
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    for old, new in words:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, file)


def test_what_is_an_adapter(written: Path, adapter: Path) -> None:
    """A whole model beside the adapter is what counts, as for transformers."""
    assert is_adapter(FolderSource(adapter))
    assert not is_adapter(FolderSource(written / "sft"))
    for file in (written / "sft").iterdir():
        shutil.copy(file, adapter)
    assert not is_adapter(FolderSource(adapter))


def test_scales(adapter: Path) -> None:
    config = read_adapter(FolderSource(adapter)).config
    assert config.scale_of("model.layers.0.self_attn.q_proj", 6) == 8 / 6
    source = edit_config(
        adapter, use_rslora=True, alpha_pattern={"layers.0.mlp.down_proj": 3, "down_proj": 5, "proj": 7}
    )
    config = read_adapter(source).config
    assert config.scale_of("model.layers.0.mlp.down_proj", 16) == 3 / 4
    assert config.scale_of("model.layers.1.mlp.down_proj", 16) == 5 / 4
    assert config.scale_of("model.layers.1.self_attn.q_proj", 16) == 8 / 4


@pytest.mark.parametrize("words", [(".weight", ".default.weight")], ids=["with the adapter's name"])
def test_names_as_earlier_versions_wrote_them(written: Path, adapter: Path, words: tuple[str, str]) -> None:
    before = read_adapter(FolderSource(adapter))
    rename(adapter, words)
    assert read_adapter(FolderSource(adapter)).modules.keys() == before.modules.keys()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("base_model.model.model.", "base_model.model."),
        ("base_model.model.", "base_model.model.language_model."),
        ("base_model.model.", ""),
    ],
    ids=["of AutoModel", "of a wrapped model", "without peft's prefix"],
)
def test_a_prefix_of_all_names_is_bridged(written: Path, adapter: Path, old: str, new: str) -> None:
    sft = read_checkpoint(FolderSource(written / "sft")).tensors
    expected = pair_adapter(read_adapter(FolderSource(adapter)), sft)
    rename(adapter, (old, new))
    found = pair_adapter(read_adapter(FolderSource(adapter)), sft)
    assert not found.mismatches
    assert found.low_rank.keys() == expected.low_rank.keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "of type IA3, not LORA"),
        ({"init_lora_weights": "pissa"}, "'pissa', which changes the base model's weights too"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "loftq"}, "merge_and_unload"),
        ({"target_parameters": ["experts.down_proj"]}, "uses target_parameters"),
        ({"trainable_token_indices": [3]}, "uses trainable_token_indices"),
        ({"layer_replication": [[0, 2]], "lora_bias": True}, "uses layer_replication, lora_bias"),
    ],
)
def test_settings_whose_update_is_another(adapter: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_adapter(edit_config(adapter, **values))


@pytest.mark.parametrize("content", ["", "[]", '{"r": "many"}', '{"r": 0}', "[" * 100_000])
def test_damaged_configurations(adapter: Path, content: str) -> None:
    (adapter / "adapter_config.json").write_text(content)
    with pytest.raises(CorruptError, match="cannot be read"):
        read_adapter(FolderSource(adapter))


def test_damaged_weights(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "lora_B" in name)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, file)
    with pytest.raises(CorruptError, match="has lora_A alone"):
        read_adapter(FolderSource(adapter))
    save_file(tensors | {name: torch.zeros(0)}, file)
    with pytest.raises(InputError, match="is empty, as DeepSpeed ZeRO-3 leaves it"):
        read_adapter(FolderSource(adapter))
    save_file(tensors | {name: torch.zeros(4, 5)}, file)
    with pytest.raises(InputError, match="no product of two matrices"):
        read_adapter(FolderSource(adapter))
    file.unlink()
    with pytest.raises(InputError, match=r"without adapter_model\.safetensors"):
        read_adapter(FolderSource(adapter))


def test_several_adapters_in_one_file(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    both = {
        name.replace(".weight", f".{kind}.weight"): tensor.clone()
        for name, tensor in tensors.items()
        for kind in ("policy", "reference")
    }
    save_file(both, file)
    with pytest.raises(InputError, match=r"several adapters in one file \(policy, reference\)"):
        read_adapter(FolderSource(adapter))


def test_an_adapter_of_another_model(written: Path, adapter: Path) -> None:
    """Shapes and names say it, on one screen."""
    sft = read_checkpoint(FolderSource(written / "sft")).tensors
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "lora_B" in name)
    save_file(tensors | {name: torch.zeros(2 * len(tensors[name]), 6)}, file)
    (mismatch,) = pair_adapter(read_adapter(FolderSource(adapter)), sft).mismatches
    assert "the adapter's update has shape" in mismatch
    save_file(tensors, file)
    rename(adapter, ("layers.1.", "layers.7."))
    (mismatch,) = pair_adapter(read_adapter(FolderSource(adapter)), sft).mismatches
    assert mismatch.startswith("3 of the adapter's 6 tensors are not on the SFT side")


def test_the_base_is_the_one_that_the_adapter_names(written: Path, adapter: Path) -> None:
    parents = open_parents(str(adapter), None)
    assert parents.sft.checkpoint.uri == str(written / "sft")
    assert open_parents(str(adapter), str(written / "sft")).sft.checkpoint == parents.sft.checkpoint


def test_another_place_of_the_same_base(written: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "sft", tmp_path / "copy")
    assert open_parents(str(adapter), str(tmp_path / "copy")).sft.checkpoint.uri == str(tmp_path / "copy")


def test_another_base_is_refused(written: Path, adapter: Path, tmp_path: Path) -> None:
    """Of the same shape: the bytes of tensors throughout the model are compared."""
    save_llama(tmp_path / "other", seed=2, tied=False)
    with pytest.raises(MismatchError, match="whose weights are not those of"):
        open_parents(str(adapter), str(tmp_path / "other"))


def test_a_base_that_is_not_here(
    written: Path, adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The trainer's folder: what is given is taken for it, and it is said."""
    edit_config(adapter, base_model_name_or_path=str(tmp_path / "scratch" / "sft"))
    with pytest.raises(InputError, match=r"cannot be opened .* give it as --sft"):
        open_parents(str(adapter), None)
    assert open_parents(str(adapter), str(written / "sft")).sft.checkpoint.uri == str(written / "sft")
    assert "is taken for it" in caplog.text
    edit_config(adapter, base_model_name_or_path=None)
    with pytest.raises(InputError, match="names no base model; give it as --sft"):
        open_parents(str(adapter), None)


def test_sides_that_cannot_be(written: Path, adapter: Path) -> None:
    with pytest.raises(InputError, match="the SFT side is an adapter itself"):
        open_parents(str(written / "sft"), str(adapter))
    with pytest.raises(InputError, match="the SFT side is an adapter itself"):
        open_parents(str(written / "adapter"), str(adapter))
    with pytest.raises(InputError, match="give --sft too"):
        open_parents(str(written / "sft"), None)
    with pytest.raises(InputError, match="no adapter to merge"):
        adapter_mode(FolderSource(written / "sft"), merge=True)


def test_older_configurations_with_nulls(adapter: Path, tmp_path: Path) -> None:
    """peft wrote null for what it had no value of."""
    names = ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "init_lora_weights")
    edit_config(adapter, **dict.fromkeys(names))
    assert make(adapter, tmp_path / "out").recipe.adapter == "scale"
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["lora_alpha"] == 12
