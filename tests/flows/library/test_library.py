"""The library as a notebook uses it: on two small checkpoints, and files of judgments."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch

import flows.library.surface as expo
from tests.benchmarks.synthetic import write_ratings
from tests.search.engines import FakeVllm
from tests.waiting import LIMIT
from tests.weights.checkpoints import pair, read_tensors, write_checkpoint
from tests.weights.models import save_llama

ROOT = Path(__file__).parents[3]

PUBLIC = {
    *("check", "extrapolate", "verify", "search", "compare"),
    *("PairSettings", "PassOptions", "ModuleAlpha", "ProgressCallback"),
    *("Plan", "ExpoModel", "Manifest", "Recipe", "Verification", "Difference"),
    *("SearchConfig", "ObjectiveConfig", "RaceSettings", "Grid", "SearchResult", "Standing"),
    *("RailLimits", "RewardModel"),
    *("Judge", "ServeConfig", "Comparison", "Verdict"),
    *("ExpoError", "InputError", "MismatchError", "CorruptError", "OverBudgetError"),
    *("PermanentError", "RetryableError"),
}


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """(aligned, SFT) of four matrices each."""
    _, aligned, sft = pair(tmp_path)
    return str(aligned.folder()), str(sft.folder())


def test_what_is_public_stays() -> None:
    """Notebooks import these: what goes needs a new minor version and a line in CHANGELOG.md."""
    assert set(expo.__all__) == PUBLIC
    assert all(getattr(expo, name).__doc__ for name in PUBLIC - {"ProgressCallback"})


def test_one_line_imports_it_and_nothing_heavy() -> None:
    code = "import sys, expo_flows as expo; print(sorted(expo.__all__)); print(sorted(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "flows/installed")])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    names, modules = done.stdout.splitlines()
    assert set(eval(names)) == PUBLIC
    assert not set(eval(modules)) & {"torch", "prefect", "vllm", "transformers", "alpaca_eval", "matplotlib"}


def test_from_two_folders_to_a_verified_model(places: tuple[str, str], tmp_path: Path) -> None:
    plan = expo.check(*places, alpha=0.5)
    assert plan.parameters == 4 * 37 * 51 and not (tmp_path / "out").exists()
    seen: list[tuple[int, int]] = []
    (model,) = expo.extrapolate(
        *places, 0.5, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert model.uri == str(tmp_path / "out") and model.alpha == 0.5
    assert seen[-1] == (plan.output_bytes, plan.output_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    aligned, sft = (read_tensors(Path(place)) for place in places)
    for name, tensor in read_tensors(tmp_path / "out").items():
        expected = aligned[name].float() + 0.5 * (aligned[name].float() - sft[name].float())
        torch.testing.assert_close(tensor, expected.bfloat16(), rtol=0, atol=0)
    assert expo.verify(tmp_path / "out", tensors=None).differences == ()
    shard = next((tmp_path / "out").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    (difference,) = expo.verify(tmp_path / "out").differences
    assert difference.file == shard.name


def test_several_alphas_and_settings(places: tuple[str, str], tmp_path: Path) -> None:
    settings = expo.PairSettings(
        dtype="float32", module_alphas=(expo.ModuleAlpha(pattern="layers.0", alpha=2.0),)
    )
    low, high = expo.extrapolate(*places, (0.1, 1.0), tmp_path / "out", settings)
    assert [Path(model.uri).name for model in (low, high)] == ["alpha-0.1", "alpha-1"]
    tensors = [read_tensors(Path(model.uri)) for model in (low, high)]
    assert torch.equal(tensors[0]["layers.0.weight"], tensors[1]["layers.0.weight"])
    assert not torch.equal(tensors[0]["layers.1.weight"], tensors[1]["layers.1.weight"])
    assert tensors[0]["layers.1.weight"].dtype == torch.float32


@pytest.mark.parametrize("preset", ["fusionbench", "lines"])
def test_of_several_alphas_each_has_the_presets_parts_of_its_own(
    tmp_path: Path, preset: Literal["fusionbench", "lines"]
) -> None:
    for seed, name in enumerate(("aligned", "sft")):
        save_llama(tmp_path / name, seed)
    places = str(tmp_path / "aligned"), str(tmp_path / "sft")
    settings = expo.PairSettings(preset=preset)
    together = expo.extrapolate(*places, [0.1, 1.0], tmp_path / "together", settings)
    for model in together:
        (alone,) = expo.extrapolate(*places, model.alpha, tmp_path / f"alone-{model.alpha}", settings)
        assert model.manifest.recipe == alone.manifest.recipe
        found, wanted = read_tensors(Path(model.uri)), read_tensors(Path(alone.uri))
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_does_not_fit_is_an_error_of_the_library(places: tuple[str, str], tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "other", {"layers.0.weight": torch.zeros(2, 2)})
    with pytest.raises(expo.MismatchError, match=r"layers\.3\.weight"):
        expo.check(places[0], str(tmp_path / "other"))
    with pytest.raises(expo.InputError, match="no α"):
        expo.extrapolate(*places, (), tmp_path / "out")


def test_compare_takes_files_of_judgments(tmp_path: Path) -> None:
    first, second = write_ratings(tmp_path)
    found = expo.compare(first, str(second))
    assert found.names == ("a", "b") and found.verdict.outcome == "better"
    assert found.verdict.difference.mean == pytest.approx(0.5)


def length(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """An objective that no α helps: the answers of every α are of one length but for α itself."""
    return [float(len(prompt)) for prompt, _ in zip(prompts, answers, strict=True)]


def test_search_calls_back_after_each_round(
    places: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.search_alpha.engine_name", lambda: "fake 1.0")
    monkeypatch.setattr("tasks.search.candidate_engine.live_engine", FakeVllm().live_engine)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"Say {number}."}) for number in range(128)))
    config = expo.SearchConfig(
        objective=expo.ObjectiveConfig(function=f"{__name__}:length"),
        race=expo.RaceSettings(first_round=16, grid=expo.Grid(count=4)),
    )
    rounds: list[int] = []
    result = expo.search(
        *places,
        prompts,
        config,
        store=str(tmp_path / "store"),
        progress=lambda standings: rounds.append(max(standing.prompts for standing in standings)),
    )
    assert result.alpha is None and tuple(rounds) == result.rounds


def test_the_reference_lists_every_value_that_goes_into_a_search() -> None:
    listed = (ROOT / "docs/reference/library.md").read_text()
    into = {"SearchConfig", "ObjectiveConfig", "RewardModel", "Judge", "RaceSettings", "Grid", "RailLimits"}
    assert {line.rpartition(".")[2] for line in listed.splitlines() if line.startswith(":::")} >= into
