"""Flow "expo": families fan out, each to its verdict, and one report tells of all of them.

prefect deployment run expo/all-models --watch -p families='["demo"]'
expo run zephyr-7b-beta tulu-2-dpo-7b --judge-model gpt-4o
"""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.family import expo_family, find_judge
from flows.parameters import BenchmarkName, FamilyName, Rejudge, default_store
from tasks.anchors import anchors as measure
from tasks.answering import Answering
from tasks.arms import ArmName
from tasks.benchmarks.budget import among
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
    rejudge: Rejudge | None = None,
    anchors: str | None = None,
    generation: Answering = Answering(),  # noqa: B008 - a frozen value
) -> str:
    """Takes families from two checkpoints to a verdict, and writes one report.

    A family that fails does not stop the others; the run fails in the end and says which.

    Args:
        families: Names of the registry; by default the twelve of the published tables.
        alpha: One α for all, in place of each family's own.
        curve: More values of α, each against the original on held-out instructions.
        arms: "original", "expo", or both; only both make a verdict.
        benchmarks: "alpaca_eval", "mt_bench", or both; none of them extrapolates only.
        judge: Who judges the answers: any OpenAI-compatible endpoint, or a checkpoint to serve.
            Its API key is read from the environment of the worker; its limits are the run's.
        store: Where artefacts go: a folder or s3://bucket/prefix; None: $EXPO_STORE.
        inputs: "stream" reads the checkpoints' weights by ranges as they are needed: no disk for
            them, and no sha256 of a file that is not read whole. An engine still downloads its model.
        publish_to: Where on the Hugging Face Hub the models go, privately: a namespace, or org/name
            for a single family. None: nothing is uploaded.
        rejudge: "failed" asks once more for the items that finished judgings have no judgment of.
        anchors: A file of stored annotations that the judge judges again in part, to say in the
            report how far it is from theirs.
        generation: How the answers are made: `endpoint` (an OpenAI-compatible server in place of an
            engine of our own), `seeds` (generations of each arm), `noise_band` (an A/A run).

    Returns:
        The uri of the run's report in the store.
    """
    store = Store(store or default_store()).uri
    families = tuple(dict.fromkeys(families))
    if publish_to and "/" in publish_to and len(families) > 1:
        raise InputError(f"publish_to {publish_to!r}: a repository holds one model; give a namespace")
    if benchmarks:
        for name in families:
            find_judge(family(name), judge, benchmarks)
    limited = among(judge, len(families)) if judge else None
    measured = (measure(anchors, judge, store),) if anchors and judge else ()
    reports, failures = [], []
    for name in families:
        state = expo_family(
            name,
            alpha,
            curve,
            arms,
            benchmarks,
            limited,
            store,
            inputs,
            publish_to,
            rejudge,
            generation,
            return_state=True,
        )
        if state.is_completed():
            reports.append(state.result())
        else:
            failures.append(_failure(name, state))
    done = tuple(one for one in reports if one)
    uri = report(flow_run.name, done, tuple(failures), store, tuple(one.agreement for one in measured))
    if failures:
        failed = ", ".join(one.family for one in failures)
        raise ExpoError(f"{len(failures)} of {len(families)} families failed: {failed}; the report is {uri}")
    return uri


def _failure(name: FamilyName, state: State[str | None]) -> Failure:
    """Why a family has no verdict: the error itself, not Prefect's words around it."""
    error = state.result(raise_on_failure=False)
    return Failure(family=name, stage=failed_stage(error) or "run", reason=str(error) or repr(error))
