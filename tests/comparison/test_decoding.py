"""How a run's answers are made: by the benchmark's rules, the family's entry, and alike for both arms."""

from itertools import pairwise

import pytest
from pydantic import ValidationError

from flows.cli.generation_options import make_generation
from tasks.comparison.arm import Arm
from tasks.comparison.decoding import ArmEndpoints, GenerationConfig, reseeded, settings_of
from tasks.core.errors import InputError
from tasks.core.families import find_family, names
from tasks.generation.settings import GenerationSettings, Sampling
from tasks.stores.source import Checkpoint
from tasks.weights.recipe import Recipe


def test_alpaca_eval_has_the_authors_sampling() -> None:
    settings = settings_of(find_family("llama3-70b-chinese-chat"))
    assert settings.sampling == Sampling(
        temperature=0.7,
        top_p=0.9,
        top_k=50,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        seed=42,
        max_tokens=2048,
    )
    assert settings.tensor_parallel_size == 4 and not settings.category_temperatures
    assert settings.stop_tokens == ("<|end_of_text|>", "<|eot_id|>")


def test_mt_bench_has_fastchats() -> None:
    settings = settings_of(find_family("internlm2-chat-7b"), "mt_bench")
    assert settings.category_temperatures["writing"] == 0.7 and settings.category_temperatures["math"] == 0
    assert len(settings.category_temperatures) == 8
    assert (settings.sampling.top_k, settings.sampling.presence_penalty) == (0, 0)
    assert settings.trust_remote_code and settings.stop_tokens == ("<|im_end|>",)


def test_only_families_that_say_so_run_remote_code() -> None:
    allowed = {name for name in names() if settings_of(find_family(name)).trust_remote_code}
    assert allowed == {"internlm2-chat-1_8b", "internlm2-chat-7b", "internlm2-chat-20b"}


def test_seeds_are_far_apart_and_the_first_is_the_usual() -> None:
    settings = GenerationSettings()
    assert reseeded(settings, 0) == settings
    seeds = [reseeded(settings, number).sampling.seed for number in range(3)]
    assert min(later - earlier for earlier, later in pairwise(seeds)) > 100_000


def test_the_noise_band_is_one_more_generation_of_the_original() -> None:
    plain, twice = GenerationConfig(), GenerationConfig(seeds=2, noise_band=True)
    assert list(plain.seeds_of("original")) == list(plain.seeds_of("expo")) == [0]
    assert (list(twice.seeds_of("original")), list(twice.seeds_of("expo"))) == ([0, 1, 2], [0, 1])
    with pytest.raises(ValidationError):
        GenerationConfig(seeds=0)


def test_options_of_the_command() -> None:
    plain = make_generation()
    assert plain == GenerationConfig()
    served = make_generation(2, True, "http://127.0.0.1:8000/v1", ("a", "b"), "KEY").endpoint
    assert served == ArmEndpoints(
        base_url="http://127.0.0.1:8000/v1", original="a", expo="b", api_key_env="KEY"
    )


@pytest.mark.parametrize(
    ("url", "models", "message"),
    [
        ("http://127.0.0.1:8000/v1", None, "together"),
        (None, ("a", "b"), "together"),
        ("127.0.0.1:8000", ("a", "b"), "write http"),
        ("http://me:key@127.0.0.1/v1", ("a", "b"), "without a key"),
    ],
)
def test_wrong_options(url: str | None, models: tuple[str, str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_generation(endpoint_url=url, endpoint_models=models)


def test_each_arm_has_its_model_at_the_endpoint() -> None:
    at = ArmEndpoints(base_url="http://127.0.0.1:8000/v1", original="zephyr", expo="zephyr-expo")
    checkpoint = Checkpoint(uri="org/name", commit="a" * 40)
    recipe = Recipe(aligned=checkpoint, sft=checkpoint, alpha=0.3)
    original, expo = (
        at.of(arm) for arm in (Arm(name="original", recipe=recipe), Arm(name="expo", recipe=recipe))
    )
    assert (original.model, expo.model) == ("zephyr", "zephyr-expo")
    assert original.base_url == expo.base_url == at.base_url
