"""Steps over modules: each module's best multiple of α is found, and told as exploratory."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.core.errors import OverBudgetError
from tasks.search.by_module import recipe_by_module
from tasks.search.objectives import ObjectiveConfig
from tasks.search.tables import render_search
from tasks.weights.modules import alpha_of
from tests.search.engines import FakeVllm
from tests.search.places import Place, noise, small_config
from tests.weights.checkpoints import pair

HERE = "tests.search.test_by_module"
ATTENTION, MLP, REST = "model.layers.0.self_attn.q.weight", "model.layers.0.mlp.up.weight", "lm_head.weight"
NAMES = (ATTENTION, MLP, REST)


def wants_less_attention(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Best at 0.6 everywhere but for attention, where 0.3 is better; an answer begins with its three α."""
    scores = []
    for prompt, answer in zip(prompts, answers, strict=True):
        attention, mlp, rest = (float(text) for text in answer.partition(":")[0].split())
        losses = [math.log(max(attention, 0.01) / 0.3), *(math.log(max(a, 0.01) / 0.6) for a in (mlp, rest))]
        scores.append(sum(math.exp(-(loss**2)) for loss in losses) + noise(prompt, answer) / 4)
    return scores


class Modular(FakeVllm):
    """An engine whose answers say the α of attention, of the MLPs and of the rest."""

    def text(self, alpha: float, prompt: str, seed: int | None) -> str:
        of_modules = [alpha_of(self.recipe, name) if self.recipe else alpha for name in NAMES]
        return f"{' '.join(f'{each:g}' for each in of_modules)}: {prompt} ({seed})"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("tasks.stats.paired.RESAMPLES", 500)
    monkeypatch.setattr("tasks.search_alpha.changed_names", lambda *_: NAMES)
    return Place(tmp_path, monkeypatch)


def test_a_module_that_wants_less_gets_less_and_the_others_keep_the_alpha(place: Place) -> None:
    config = small_config(ObjectiveConfig(function=f"{HERE}:wants_less_attention"))
    config = config.model_copy(update={"by_module": True})
    vllm = Modular()
    result = place.search(vllm, config=config)
    found = result.by_module
    assert result.alpha is not None and found is not None and found.alpha == result.alpha
    assert found.multiples["attention"] < 1 and found.multiples["mlp"] == found.multiples["rest"] == 1
    assert found.tried >= 12 and found.difference is not None and found.difference.mean > 0
    page = render_search(result)
    assert f"{found.tried} candidates" in page and "Exploratory" in page
    journals = place.folder.glob("store/searches/*/modules/*/alpha-*/*/answers.jsonl")
    steps = {path.parts[-4] for path in journals}
    assert len(steps) == 3
    assert vllm.answered - 8 == result.costs.answers  # eight of them from the written files
    again = Modular()
    assert place.search(again, config=config) == result and not again.answered
    asked = {alpha for alpha, _ in vllm.orders}
    assert asked >= {0.0, result.alpha}


def test_cut_off_by_a_limit_it_goes_on_with_the_next_try(place: Place) -> None:
    """The α is returned without it, and nothing is sealed until the steps are done."""

    class Limited(Modular):
        def text(self, alpha: float, prompt: str, seed: int | None) -> str:
            if self.recipe and self.recipe.module_alphas:
                raise OverBudgetError("20 minutes are over")
            return super().text(alpha, prompt, seed)

    config = small_config(ObjectiveConfig(function=f"{HERE}:wants_less_attention"))
    config = config.model_copy(update={"by_module": True})
    cut = place.search(Limited(), config=config)
    assert cut.alpha is not None and cut.by_module is None and not cut.stopped
    rest = Modular()
    found = place.search(rest, config=config)
    assert found.alpha == cut.alpha and found.by_module is not None
    assert rest.answered, "the steps over modules"
    last = Modular()
    assert place.search(last, config=config) == found and not last.started


def test_a_module_that_the_names_do_not_tell_has_no_step(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.search_alpha.changed_names", lambda *_: (MLP, REST))
    config = small_config(ObjectiveConfig(function=f"{HERE}:wants_less_attention"))
    found = place.search(Modular(), config=config.model_copy(update={"by_module": True})).by_module
    assert found is not None and [*found.multiples] == ["mlp", "rest"]
    steps = {path.name.partition("-")[0] for path in place.folder.glob("store/searches/*/modules/*")}
    assert steps == {"mlp", "rest"}


def test_a_search_without_it_has_none(place: Place) -> None:
    config = small_config(ObjectiveConfig(function=f"{HERE}:wants_less_attention"))
    assert place.search(Modular(), config=config).by_module is None


def test_modules_that_a_checkpoint_lacks_are_left_out(tmp_path: Path) -> None:
    recipe, _, _ = pair(tmp_path)
    multiples = {"attention": 0.5, "mlp": 2.0, "rest": 1.5}
    found = recipe_by_module(recipe, 0.6, multiples, [MLP, REST])
    assert [(entry.pattern, entry.alpha) for entry in found.module_alphas] == [("mlp", 1.2)]
    assert found.alpha == pytest.approx(0.9)
    assert alpha_of(recipe_by_module(recipe, 0.6, multiples, NAMES), ATTENTION) == 0.3
