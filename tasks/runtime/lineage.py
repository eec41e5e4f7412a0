"""Where a model comes from, as Prefect's assets: both parents, the model, its publication.

Every server keeps the events (`prefect.asset.materialization.succeeded`, with the parents as related
resources); Prefect Cloud also shows them as a graph.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect.assets import Asset, AssetProperties
from prefect.context import AssetContext
from prefect.runtime import flow_run
from prefect.states import Completed

from tasks.runtime.progress import run_logger

__all__ = ["asset_key", "emit_materialized"]

PROGRAM = "expo-flows"


def emit_materialized(
    place: str, made_from: Sequence[str], metadata: Mapping[str, object], url: str | None = None
) -> None:
    """Emits that the model at `place` was made from others; outside a run, nothing.

    Args:
        place: of the model: a folder, s3://…, or hf://org/name.
        made_from: the places of what it was made from.
        metadata: shown with the event.
        url: of a page on the model.
    """
    if not flow_run.id:
        return
    try:
        model = Asset(key=asset_key(place), properties=AssetProperties(url=url) if url else None)
        parents = {Asset(key=asset_key(parent)) for parent in made_from}
    except ValueError as error:  # a name that Prefect has no key for fails no run
        run_logger().warning(f"{place}: no asset in Prefect: {error}")
        return
    AssetContext(
        direct_asset_dependencies=parents,
        downstream_assets={model},
        materialized_by=PROGRAM,
        materialization_metadata={model.key: dict(metadata)},
    ).emit_events(Completed())


def asset_key(place: str) -> str:
    """The key of a place: file://… of a folder, s3://…, or hf://org/name of a hub id."""
    if "://" in place:
        return place
    return f"file://{place}" if Path(place).is_absolute() else f"hf://{place}"
