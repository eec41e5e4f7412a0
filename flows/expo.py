"""Flow "expo": families fan out, each to its verdict, and one report tells of all of them.

prefect deployment run expo/all-models --watch -p families='["demo"]'
expo run zephyr-7b-beta tulu-2-dpo-7b --judge-model gpt-4o
"""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.family import expo_family, find_judge
from flows.parameters import BenchmarkName, FamilyName, default_store
from tasks.arms import ArmName
from tasks.benchmarks.judge import Judge
from tasks.errors import ExpoError, InputError
from tasks.families import family, names
from tasks.report import report
from tasks.reports.run_report import Failure
from tasks.stage import failed_stage
from tasks.stores.artefact import Store
from tasks.weights.inputs import InputMode

__all__ = ["expo"]


@flow(name="expo")
def expo(
    families: tuple[FamilyName, ...] = tuple(FamilyName(name) for name in names("published")),
    alpha: float | None = None,
    curve: tuple[float, ...] = (),
    arms: tuple[ArmName, ...] = ("original", "expo"),
    benchmarks: tuple[BenchmarkName, ...] = ("alpaca_eval",),
    judge: Judge | None = None,
    store: str | None = None,
    inputs: InputMode = "download",
    publish_to: str | None = None,
) -> str:
    """Takes families from two checkpoints to a verdict, and writes one report.

    A family that fails does not stop the others; the run fails in the end and says which.

    Args:
        families: Names of the registry; by default the twelve of the published tables.
        alpha: One α for all, in place of each family's own.
        curve: More values of α, each against the original on held-out instructions.
        arms: "original", "expo", or both; only both make a verdict.
        benchmarks: None of them extrapolates only.
        judge: Who compares the answers: any OpenAI-compatible endpoint. Its API key is read
            from the environment of the worker.
        store: Where artefacts go: a folder or s3://bucket/prefix; None: $EXPO_STORE.
        inputs: "stream" reads the checkpoints' weights by ranges as they are needed: no disk for
            them, and no sha256 of a file that is not read whole. An engine still downloads its model.
        publish_to: Where on the Hugging Face Hub the models go, privately: a namespace, or org/name
            for a single family. None: nothing is uploaded.

    Returns:
        The uri of the run's report in the store.
    """
    store = Store(store or default_store()).uri
    families = tuple(dict.fromkeys(families))
    if publish_to and "/" in publish_to and len(families) > 1:
        raise InputError(f"publish_to {publish_to!r}: a repository holds one model; give a namespace")
    if benchmarks:
        for name in families:
            find_judge(family(name), judge)
    reports, failures = [], []
    for name in families:
        state = expo_family(
            name, alpha, curve, arms, benchmarks, judge, store, inputs, publish_to, return_state=True
        )
        if state.is_completed():
            reports.append(state.result())
        else:
            failures.append(_failure(name, state))
    uri = report(flow_run.name, tuple(one for one in reports if one), tuple(failures), store)
    if failures:
        failed = ", ".join(one.family for one in failures)
        raise ExpoError(f"{len(failures)} of {len(families)} families failed: {failed}; the report is {uri}")
    return uri


def _failure(name: FamilyName, state: State[str | None]) -> Failure:
    """Why a family has no verdict: the error itself, not Prefect's words around it."""
    error = state.result(raise_on_failure=False)
    return Failure(family=name, stage=failed_stage(error) or "run", reason=str(error) or repr(error))
