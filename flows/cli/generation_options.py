"""The options that say how a run's answers are made."""

from typing import TYPE_CHECKING, Annotated

import typer

from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.comparison.decoding import GenerationConfig

__all__ = ["make_generation"]

PANEL = "The answers"
SEEDS = Annotated[int, typer.Option(min=1, max=16, help="Generations of each arm.", rich_help_panel=PANEL)]
NOISE_BAND = Annotated[
    bool,
    typer.Option("--noise-band", help="The original once more, to see what is noise.", rich_help_panel=PANEL),
]
URL = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        help="An OpenAI-compatible server that answers for both arms.",
        rich_help_panel=PANEL,
    ),
]
MODELS = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--endpoint-models",
        metavar="ORIGINAL EXPO",
        help="The two models' names there.",
        rich_help_panel=PANEL,
    ),
]
KEY_ENV = Annotated[
    str | None,
    typer.Option("--endpoint-key-env", help="The variable that holds its key.", rich_help_panel=PANEL),
]
MAX_FAILED = Annotated[
    float,
    typer.Option(
        "--max-failed",
        min=0,
        max=0.99,
        help="The share of answers that the endpoint may fail to give.",
        rich_help_panel=PANEL,
    ),
]


def make_generation(
    seeds: SEEDS = 1,
    noise_band: NOISE_BAND = False,
    endpoint_url: URL = None,
    endpoint_models: MODELS = None,
    endpoint_key_env: KEY_ENV = None,
    max_failed: MAX_FAILED = 0.05,
) -> "GenerationConfig":
    """How the answers are made, by these options.

    Raises:
        InputError: an endpoint without its models, models without an endpoint, or no address.
    """
    from pydantic import ValidationError

    from tasks.comparison.decoding import ArmEndpoints, GenerationConfig
    from tasks.core.worker import KEYS, allow

    url, models = endpoint_url, endpoint_models
    if (url is None) != (models is None):
        raise InputError("give --endpoint-url and --endpoint-models together, or neither")
    if url is None or models is None:
        return GenerationConfig(seeds=seeds, noise_band=noise_band)
    try:
        if endpoint_key_env:
            allow(KEYS, f"{url}={endpoint_key_env}")
        at = ArmEndpoints(base_url=url, original=models[0], expo=models[1], api_key_env=endpoint_key_env)
    except ValidationError:
        raise InputError(f"--endpoint-url {url}: write http://host:port/v1, without a key in it") from None
    return GenerationConfig(seeds=seeds, noise_band=noise_band, endpoint=at, max_failed=max_failed)
