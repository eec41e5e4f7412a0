"""The flows' parameters: types that the Prefect UI turns into a form and the server validates."""

import os
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tasks.benchmarks.registry import BenchmarkName
from tasks.core.families import names

__all__ = [
    "AlphaCurve",
    "AnchorFile",
    "BenchmarkName",
    "DeploymentName",
    "FamilyName",
    "HubTarget",
    "StorePlace",
    "default_store",
]

FamilyName = StrEnum("FamilyName", {name: name for name in names()})  # type: ignore[misc]

# the examples stand in the form of the Prefect UI
StorePlace = Annotated[str | None, Field(examples=["s3://bucket/prefix", "/data/expo-store"])]
AlphaCurve = Annotated[tuple[float, ...], Field(examples=[[0.1, 0.3, 1.0]])]
HubTarget = Annotated[str | None, Field(examples=["my-org", "my-org/my-model"])]
AnchorFile = Annotated[str | None, Field(examples=["s3://bucket/anchors/annotations.json"])]
DeploymentName = Annotated[str | None, Field(examples=["expo-family/gpu", "expo-family/cpu"])]


def default_store() -> str:
    """$EXPO_STORE, or the folder `expo-store` beside where the flow runs."""
    return os.environ.get("EXPO_STORE", "expo-store")
