"""Flow "expo-nightly": redoes what has changed, and compares the figures with earlier nights'.

Everything in the store is found by what it was made of. So a night does again what a new commit of a
parent, a new engine or new settings make new, and nothing else; `fresh` asks for more.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.expo import expo
from flows.parameters import BenchmarkName, FamilyName, default_store
from tasks.anchors import anchors as measure_anchors
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import DEFAULT
from tasks.compare_nights import compare_nights
from tasks.comparison.decoding import GenerationConfig
from tasks.comparison.guards import GuardName
from tasks.comparison.nights import NIGHT
from tasks.comparison.run_config import RunConfig
from tasks.core.families import names
from tasks.judge_drift import judge_drift
from tasks.keep_reports import keep_reports
from tasks.stores.artefact import Store
from tasks.weights.inputs import InputMode

__all__ = ["nightly"]

FIRST_NIGHT, SEEDS = date(2026, 1, 1), 4000  # a seed of its own for each night of eleven years


def _run_name() -> str:
    return f"{NIGHT}{datetime.now(UTC):%Y-%m-%d-%H%M%S}"


@flow(name="expo-nightly", flow_run_name=_run_name)
def nightly(
    families: tuple[FamilyName, ...] = tuple(FamilyName(name) for name in names("published")),
    benchmarks: tuple[BenchmarkName, ...] = (DEFAULT,),
    guards: tuple[GuardName, ...] = (),
    judge: Judge | None = None,
    store: str | None = None,
    inputs: InputMode = "download",
    anchors: str | None = None,
    fresh: bool = False,
    keep: Annotated[int, Field(ge=1)] = 60,
    generation: GenerationConfig = GenerationConfig(),  # noqa: B008 - a frozen value
    deployment: str | None = None,
) -> str:
    """Runs the families; a drop, a family without a verdict and a judge that drifts are events.

    The events (`expo.nightly.drop`, `expo.nightly.missing`, `expo.judge.drift`) are passed on by an
    automation. Families that fail fail the run, after everything was compared.

    Args:
        families: Names of the registry; by default the twelve of the published tables.
        benchmarks: Names of benchmarks.
        guards: What the gain costs, as in the flow expo; a guard that drops is an event as well.
        judge: Who judges; its figures are compared with its own earlier ones only.
        store: Where artefacts and the history are: a folder or `s3://bucket/prefix`; None: $EXPO_STORE.
        inputs: `download` or `stream`, as in the flow expo.
        anchors: A file of stored annotations, as `/data/annotations.json`, of which the judge judges a
            sample again each night.
        fresh: All families are answered and judged anew, with the night's own seed.
        keep: How many nights' reports are kept; older ones go, and nothing that a report refers to.
        generation: How the answers are made, as in the flow expo; a fresh night sets its own first
            seed, and always has an A/A run.
        deployment: The deployment that runs each family, as `expo-family/gpu`; None: in this process.

    Returns:
        The uri of the night's report.
    """
    store = Store(store or default_store()).uri
    night = datetime.now(UTC).date()
    if fresh:
        seed = (night - FIRST_NIGHT).days % SEEDS
        generation = generation.model_copy(update={"first_seed": seed, "noise_band": True})
    config = RunConfig(
        benchmarks=benchmarks,
        guards=guards,
        judge=judge,
        store=store,
        inputs=inputs,
        generation=generation,
    )
    state: Any = expo.with_options(flow_run_name=flow_run.name)(
        families, **dict(config), deployment=deployment, return_state=True
    )
    compare_nights(flow_run.name, tuple(families), store)
    if anchors and judge:
        judge_drift(measure_anchors(anchors, judge, store, occasion=night.isoformat()), store)
    keep_reports(keep, store)
    uri: str = state.result()
    return uri
