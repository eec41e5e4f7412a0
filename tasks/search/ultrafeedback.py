"""The held-out prompts of a search that names none: UltraFeedback's, as in the paper (arXiv 2404.16792).

They are the 2,000 prompts that HuggingFaceH4's binarized form kept back from the training of zephyr and its
kin. Those that an evaluation asks too are left out.
"""

from collections.abc import Mapping
from pathlib import Path

from tasks.benchmarks.data import DataFile, fetch
from tasks.core.errors import InputError
from tasks.search.held_out import digest

__all__ = ["PROMPTS", "ULTRAFEEDBACK", "ultrafeedback_prompts"]

ULTRAFEEDBACK = "ultrafeedback"  # in place of a file's path
# The digest is that of a third party's published notes: a file with another one is refused.
PROMPTS = DataFile(
    "data/test_prefs-00000-of-00001.parquet",
    "e9dab2789f419d4204d73ec2c860af6d88d466b906e0109e69b96075467eb389",
    repository="HuggingFaceH4/ultrafeedback_binarized",
    revision="3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
)


def ultrafeedback_prompts(evaluations: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """The prompts that no evaluation asks, downloaded if need be.

    Args:
        evaluations: digests by the title of the set.

    Raises:
        RetryableError, PermanentError, CorruptError: as `tasks.benchmarks.data.fetch`.
        InputError: the file has no prompts.
    """
    asked = frozenset().union(*evaluations.values())
    return tuple(prompt for prompt in _read(fetch(PROMPTS)) if digest(prompt) not in asked)


def _read(path: Path) -> list[str]:
    import pandas

    column = pandas.read_parquet(path, columns=["prompt"])["prompt"]
    prompts = [prompt for prompt in column if isinstance(prompt, str) and prompt.strip()]
    if not prompts:
        raise InputError(f"{path}: no prompts in it")
    return prompts
