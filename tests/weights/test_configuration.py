"""Two config.json: what changes the meaning of weights is refused by name, what does not is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import CorruptError, MismatchError
from tasks.stores.folder_source import FolderSource
from tasks.weights.configuration import compare, ties_words
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import pair, recipe
from tests.weights.config_defaults import TARGET, defaults

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
}


HEADS = ["head_dim", "num_attention_heads", "num_key_value_heads"]


def fields(aligned: dict[str, Any], sft: dict[str, Any]) -> list[str]:
    return [difference.field for difference in compare(aligned, sft)[0]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rope_theta": 1e6}, ["rope_theta"]),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ["rope_scaling"]),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, ["rope_scaling"]),
        ({"num_attention_heads": 8, "num_key_value_heads": 4}, HEADS),
        ({"head_dim": 32}, ["head_dim"]),
        ({"hidden_act": "gelu"}, ["activation"]),
        ({"rms_norm_eps": 1e-6}, ["rms_norm_eps"]),
        ({"sliding_window": 4096}, []),  # Llama has none: said, not refused
        ({"tie_word_embeddings": True}, ["tie_word_embeddings"]),
        ({"architectures": ["MistralForCausalLM"]}, ["architectures"]),
        ({"hidden_size": 128, "head_dim": 16}, ["hidden_size"]),
        ({"partial_rotary_factor": 0.5}, []),
    ],
)  # fmt: skip
def test_what_changes_the_meaning(change: dict[str, Any], named: list[str]) -> None:
    differences, notices = compare(LLAMA | change, LLAMA)
    assert [difference.field for difference in differences] == named
    assert named or next(iter(change)) in notices[0]
    assert fields(LLAMA, LLAMA | change) == named


@pytest.mark.parametrize(
    "other",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        {"rope_theta": 500000},
        {"rope_theta": 500000.0, "rope_scaling": None},
        {"rope_theta": 500000.0, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"rope_theta": 500000.0, "head_dim": 16},
        {"rope_theta": 500000.0, "head_dim": None},
    ],
)
def test_spellings_that_mean_the_same(other: dict[str, Any]) -> None:
    plain = {name: value for name, value in LLAMA.items() if name != "rope_theta"}
    assert fields(plain | other, LLAMA) == []


def test_both_spellings_of_scaling() -> None:
    old = LLAMA | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    new = LLAMA | {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0}}
    assert fields(old, new) == []
    assert fields(old, LLAMA) == ["rope_scaling"]


def test_frequencies_of_each_kind_of_layer() -> None:
    """Gemma 3: one base for full attention, another for sliding windows."""
    old = {"model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 10000.0}
    new = {
        "model_type": "gemma3_text",
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
        },
    }
    assert fields(old, new) == ["rope_local_base_freq"]


def test_a_field_left_out_has_the_default_of_its_class() -> None:
    kept = {name: value for name, value in LLAMA.items() if name != "rope_theta"}
    assert fields(kept, LLAMA | {"rope_theta": 10000.0}) == []
    assert fields(kept, LLAMA) == ["rope_theta"]


def test_sections_are_compared() -> None:
    new, old = {"text_config": {"rope_theta": 1e4}}, {"text_config": {"rope_theta": 1e6}}
    assert fields(new, old) == ["text_config.rope_theta"]


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": False, "model_type": "gemma2"}, False),
        ({"model_type": "gemma2"}, True),
        ({"model_type": "llama"}, False),
        ({"text_config": {"tie_word_embeddings": True}}, True),
        ({"text_config": {"model_type": "gemma3_text"}}, True),
        ({"model_type": "of somebody's own"}, False),
        ({}, False),
    ],
)
def test_ties(config: dict[str, Any], tied: bool) -> None:
    assert ties_words(config) is tied


def test_defaults_are_those_of_transformers() -> None:
    stored = json.loads(TARGET.read_text())
    names = ("llama", "mistral", "gemma2", "qwen3_moe", "gpt2")
    assert defaults(names) == {name: stored[name] for name in names}


def configured(folder: Path, aligned: object, sft: object) -> tuple[FolderSource, FolderSource]:
    pair(folder)
    for side, content in (("aligned", aligned), ("sft", sft)):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / side / "config.json").write_text(text)
    return FolderSource(folder / "aligned"), FolderSource(folder / "sft")


def test_refusal_names_both_values_and_the_option(tmp_path: Path) -> None:
    sides = configured(tmp_path, LLAMA | {"rope_theta": 1e6}, LLAMA)
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(*sides), *sides)
    line = "config.json: rope_theta is 1000000.0 on the aligned side, 500000.0 on the SFT side; "
    assert line + "if that is meant, --allow rope_theta" in str(caught.value)


def test_what_is_allowed_is_said(tmp_path: Path) -> None:
    sides = configured(tmp_path, LLAMA | {"rope_theta": 1e6, "use_cache": True}, LLAMA)
    plan = make_plan(recipe(*sides, allow=("rope_theta",)), *sides)
    assert "which was allowed" in plan.notices[0]
    assert plan.notices[1] == "config.json also differs in use_cache; the aligned side's is kept"


def test_aligned_side_without_config(tmp_path: Path) -> None:
    sides = configured(tmp_path, LLAMA, LLAMA)
    (tmp_path / "aligned" / "config.json").unlink()
    aligned = FolderSource(tmp_path / "aligned")
    with pytest.raises(MismatchError, match=r"the aligned checkpoint .*/aligned has no config\.json"):
        make_plan(recipe(aligned, sides[1]), aligned, sides[1])


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "7"])
def test_damaged_config_of_the_aligned_side(tmp_path: Path, content: str) -> None:
    sides = configured(tmp_path, content, LLAMA)
    with pytest.raises(CorruptError, match=r"the aligned checkpoint .*/aligned: config\.json: no JSON"):
        make_plan(recipe(*sides), *sides)


def test_sft_side_without_config_is_said(tmp_path: Path) -> None:
    sides = configured(tmp_path, LLAMA, "")
    assert "configurations were not compared" in make_plan(recipe(*sides), *sides).notices[0]
