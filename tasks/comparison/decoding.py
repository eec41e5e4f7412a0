"""How a run's answers are made: the sampling by benchmark and family, the seeds, an endpoint."""

from pydantic import ConfigDict, Field

from tasks.benchmarks.registry import find_benchmark
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.arm import Arm, ArmName
from tasks.core.families import Family
from tasks.core.values import Value
from tasks.generation.settings import ADDRESS, MAX_FAILED, Endpoint, GenerationSettings

__all__ = ["ArmEndpoints", "GenerationConfig", "reseeded", "settings_of"]

SEED_STEP = 1_000_003  # more than any benchmark has answers: no two generations share a stream


class ArmEndpoints(Value):
    """An OpenAI-compatible server (vLLM's, a cluster's) that answers for the arms.

    base_url        up to and including /v1
    original, expo  the names under which it serves the two models
    api_key_env     the variable of the worker's environment that holds its key; None: it asks for none

    This program cannot check that the server has these models and templates.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str = Field(pattern=ADDRESS)
    original: str = Field(min_length=1)
    expo: str = Field(min_length=1)
    api_key_env: str | None = None

    def of(self, arm: Arm) -> Endpoint:
        """The endpoint of one arm."""
        model = self.original if arm.name == "original" else self.expo
        return Endpoint(base_url=self.base_url, model=model, api_key_env=self.api_key_env)


class GenerationConfig(Value):
    """How a run has its answers made; alike for both arms.

    endpoint    a server in place of a local engine
    seeds       generations of each arm, each with a seed of its own
    first_seed  the number of the first: another number is another seed, and everything is answered anew
    noise_band  the original once more with yet another seed: what then differs is noise (an A/A run)
    max_failed  the share of answers that an endpoint may fail to give; an arm with more is not judged
    """

    endpoint: ArmEndpoints | None = None
    seeds: int = Field(default=1, ge=1, le=16)
    first_seed: int = Field(default=0, ge=0, le=4000)  # times SEED_STEP it has to fit 32 bits
    noise_band: bool = False
    max_failed: float = Field(default=MAX_FAILED, ge=0, lt=1)

    def seeds_of(self, arm: ArmName) -> range:
        """The numbers of an arm's generations, for `reseeded`."""
        seeds = self.seeds + (self.noise_band and arm == "original")
        return range(self.first_seed, self.first_seed + seeds)


def settings_of(family: Family, benchmark: str = DEFAULT) -> GenerationSettings:
    """How a family's arms are decoded: as the benchmark's rules say, and the registry of the family."""
    rules = find_benchmark(benchmark)
    return GenerationSettings(
        sampling=rules.sampling(family.max_tokens),
        category_temperatures=rules.temperatures(),
        stop_tokens=family.stop_tokens,
        chat_template=family.chat_template,
        tensor_parallel_size=family.tensor_parallel_size,
        pipeline_parallel_size=family.pipeline_parallel_size,
        max_model_len=family.max_model_len,
        gpu_memory_utilization=family.gpu_memory_utilization,
        trust_remote_code=family.trust_remote_code,
    )


def reseeded(settings: GenerationSettings, number: int) -> GenerationSettings:
    """The same with another seed for each number; 0 changes nothing."""
    sampling = settings.sampling.model_copy(update={"seed": settings.sampling.seed + number * SEED_STEP})
    return settings.model_copy(update={"sampling": sampling})
