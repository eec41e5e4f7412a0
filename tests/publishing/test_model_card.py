"""The model card: complete, accepted by the hub library, and silent about what is not known."""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import metadata_load

from tasks.core.errors import InputError
from tasks.core.families import find_family
from tasks.publishing.model_card import License, license_of, model_card
from tasks.publishing.publication import repository_of
from tasks.reports.run_report import FamilyReport
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Checkpoint
from tasks.weights.manifest import Manifest, ModelFile
from tasks.weights.receipts import InputCheck, TensorStatistics
from tasks.weights.recipe import ModuleAlpha, Recipe

ALIGNED = Checkpoint(uri="org/aligned", commit="a" * 40)
SFT = Checkpoint(uri="org/sft", commit="b" * 40)
APACHE = License(id="apache-2.0")


def _manifest(**recipe: object) -> Manifest:
    wanted = Recipe.model_validate({"aligned": ALIGNED, "sft": SFT, "alpha": 0.3} | recipe)
    statistics = TensorStatistics(
        name="a", elements=4, alpha=0.3, norm=2.0, update_norm=0.2, largest_update=0.1, nonfinite=0
    )
    check = InputCheck(side="aligned", file="x", size=8, sha256="0" * 64, check="sha256")
    return Manifest(
        recipe=wanted,
        fingerprint=wanted.fingerprint,
        code_version="0.2.0",
        files=(ModelFile(name="x", size=8, sha256="0" * 64),),
        inputs=(check,),
        skipped=(),
        statistics=(statistics,),
    )


def test_says_what_it_is_and_how_to_make_it_again(tmp_path: Path) -> None:
    card = model_card(_manifest(), "lab/model", APACHE, alpha_source="paper, card")
    for part in (
        "# model\n",
        f"https://huggingface.co/org/aligned/tree/{'a' * 40}",
        f"https://huggingface.co/org/sft/tree/{'b' * 40}",
        "| α | 0.3, from: paper, card |",
        "α·‖Δ‖ / ‖θ_aligned‖ = 0.03 |",
        "| license | `apache-2.0`, the aligned model's |",
        "This model has not been evaluated.",
        "alignment tax",
        "Of 1 input files 1 were compared with their sha256.",
        f"expo extrapolate --aligned org/aligned@{'a' * 40} --sft org/sft@{'b' * 40} --alpha 0.3 --out OUT\n",
        "expo verify lab/model\n",
    ):
        assert part in card
    (tmp_path / "README.md").write_text(card)
    metadata = metadata_load(tmp_path / "README.md")
    assert metadata
    assert metadata["base_model"] == ["org/aligned", "org/sft"]
    assert metadata["base_model_relation"] == "merge"
    assert metadata["license"] == "apache-2.0"
    assert {"expo", "merge", "arxiv:2404.16792"} <= set(metadata["tags"])
    assert "model-index" not in metadata


def test_an_adapter_at_another_scale(tmp_path: Path) -> None:
    """Its base model is the SFT model alone; what it is loaded with, and how it was made, are peft's."""
    card = model_card(_manifest(adapter="scale").model_copy(update={"statistics": ()}), "lab/model", APACHE)
    assert "at (1 + α) times their scale (`lora_alpha`)" in card
    assert "it is loaded on the SFT model with peft" in card
    assert "output dtype" not in card
    (tmp_path / "README.md").write_text(card)
    metadata = metadata_load(tmp_path / "README.md")
    assert metadata
    assert metadata["base_model"] == ["org/sft"]
    assert metadata["base_model_relation"] == "adapter"
    assert metadata["library_name"] == "peft"
    assert {"expo", "lora"} <= set(metadata["tags"])


def test_a_merged_adapter(tmp_path: Path) -> None:
    card = model_card(_manifest(adapter="merge"), "lab/model", APACHE)
    assert "merged into the SFT model, whose config this model has" in card
    assert "--out OUT --merge\n" in card
    (tmp_path / "README.md").write_text(card)
    metadata = metadata_load(tmp_path / "README.md")
    assert metadata
    assert metadata["base_model"] == ["org/aligned", "org/sft"]
    assert metadata["base_model_relation"] == "merge"


def test_results_with_interval_and_judge(make_family: Callable[..., FamilyReport]) -> None:
    """Read back by the hub library: one result for each figure, each with its judge."""
    (verdict,) = make_family("zephyr-7b-beta", gain=9.0, judge="gpt|4.1").verdicts
    content = model_card(_manifest(), "lab/model", APACHE, [verdict])
    data = ModelCard(content).data
    assert isinstance(data, ModelCardData)
    assert data.model_name == "model"
    (result,) = data.eval_results or []
    assert result.dataset_type == "tatsu-lab/alpaca_eval"
    assert result.metric_name == "win rate, judged by gpt|4.1"
    assert result.metric_value == round(verdict.expo.score, 4)
    (row,) = (line for line in content.splitlines() if line.startswith("| AlpacaEval 2.0 |"))
    assert "`gpt\\|4.1`" in row
    assert "better" in row
    assert "+" in row and " to +" in row
    assert "| 120 |" in row


def test_options_that_decide_the_bytes_are_in_the_command() -> None:
    module = ModuleAlpha(pattern="mlp", alpha=0.1, layers=(0, 15))
    manifest = _manifest(output_dtype="float32", module_alphas=(module,), nonfinite="allow", dequantize=True)
    card = model_card(manifest, "lab/model", APACHE)
    assert "--dtype float32 --nonfinite allow --dequantize --module-alpha mlp@0-15=0.1" in card
    assert "| α of `mlp`, layers 0 to 15 | 0.1 |" in card


def test_a_local_parent_is_not_named_by_its_path() -> None:
    local = Checkpoint(uri="/home/somebody/secret-project", commit="local-123")
    card = model_card(_manifest(aligned=local), "lab/model", License())
    assert "secret-project" not in card
    assert "--aligned ALIGNED" in card
    assert ModelCard(card).data.get("base_model") == ["org/sft"]
    assert "not stated by the aligned model's card" in card
    assert ModelCard(card).data.get("license") is None


@pytest.mark.parametrize(
    ("readme", "license"),
    [
        ("---\nlicense: mit\n---\n# A model\n", License(id="mit")),
        (
            "---\nlicense: other\nlicense_name: llama3\nlicense_link: LICENSE\n---\n",
            License(id="other", name="llama3", link="LICENSE"),
        ),
        ("---\nlicense: [mit, apache-2.0]\n---\n", License()),
        ("---\n: : [\n---\n", License()),
        ("# no metadata\n", License()),
        (None, License()),
    ],
)
def test_license_of_the_aligned_model(tmp_path: Path, readme: str | None, license: License) -> None:
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert license_of(FolderSource(tmp_path)) == license


def test_repository_of_a_family() -> None:
    assert repository_of("lab", find_family("zephyr-7b-beta").aligned) == "lab/zephyr-7b-beta-ExPO"
    assert repository_of("lab/mine", "org/aligned") == "lab/mine"
    for wrong in ("", "a/b/c", "a/", "/b"):
        with pytest.raises(InputError, match="give a namespace"):
            repository_of(wrong, "org/aligned")
