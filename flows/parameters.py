"""The flows' parameters: types that the Prefect UI turns into a form and the server validates."""

import os
from enum import StrEnum

from tasks.benchmarks.registry import BenchmarkName
from tasks.core.families import names

__all__ = ["BenchmarkName", "FamilyName", "default_store"]

FamilyName = StrEnum("FamilyName", {name: name for name in names()})  # type: ignore[misc]


def default_store() -> str:
    """$EXPO_STORE, or the folder `expo-store` beside where the flow runs."""
    return os.environ.get("EXPO_STORE", "expo-store")
