"""Flow "expo": runs each family to its verdict, and writes one report on all of them.

prefect deployment run expo/all-models --watch -p families='["demo"]'
expo run zephyr-7b-beta tulu-2-dpo-7b --judge-model gpt-4o
"""

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flows import Flow
from prefect.runtime import flow_run
from prefect.states import Cancelling
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.callables import get_parameter_defaults

from flows.family import expo_family
from flows.parameters import BenchmarkName, FamilyName, default_store
from flows.questions import estimate_run
from tasks.anchors import anchors as measure_anchors
from tasks.benchmarks.budget import split_budget
from tasks.benchmarks.judge_config import Judge
from tasks.benchmarks.table import DEFAULT
from tasks.comparison.arm import ArmName
from tasks.comparison.decoding import GenerationConfig
from tasks.comparison.guards import GuardName, guards_of_run
from tasks.comparison.instructions import asked_benchmarks
from tasks.comparison.judges import find_judges
from tasks.comparison.run_config import Alpha, Rejudge, RunConfig
from tasks.core.errors import ExpoError, InputError
from tasks.core.families import find_family, names
from tasks.core.family_result import FamilyResult
from tasks.core.worker import check_root
from tasks.family_run import family_run
from tasks.report import report
from tasks.runtime.approval import require_approval
from tasks.runtime.recorder import take_timeline
from tasks.runtime.run_names import report_name, run_title
from tasks.runtime.stage import failed_stage
from tasks.search.search_config import SearchConfig
from tasks.stores.artefact import Store
from tasks.weights.inputs import InputMode

__all__ = ["check_run", "expo"]

# family runs that a run waits for at once; waiting costs no work
WAITING = 256


def cancel_families(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Cancels the runs of a cancelled run's families; their engines end with them."""
    unfinished = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished), name=None),
            )
        )
        for run in runs:
            client.set_flow_run_state(run.id, Cancelling())


def _run_name() -> str:
    given = get_parameter_defaults(expo.fn) | dict(flow_run.parameters)
    return run_title(given["families"], given["alpha"], given["curve"], str(flow_run.name))


@flow(
    name="expo",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=WAITING),  # type: ignore[arg-type]
    on_cancellation=[cancel_families],
)
def expo(
    families: tuple[FamilyName, ...] = tuple(FamilyName(name) for name in names("published")),
    alpha: Alpha | None = None,
    curve: tuple[float, ...] = (),
    arms: tuple[ArmName, ...] = ("original", "expo"),
    benchmarks: tuple[BenchmarkName, ...] = (DEFAULT,),
    prompts: str | None = None,
    guards: tuple[GuardName, ...] = (),
    judge: Judge | None = None,
    store: str | None = None,
    inputs: InputMode = "download",
    dequantize: bool = False,
    publish_to: str | None = None,
    rejudge: Rejudge | None = None,
    anchors: str | None = None,
    generation: GenerationConfig = GenerationConfig(),  # noqa: B008 - a frozen value
    search: SearchConfig | None = None,
    deployment: str | None = None,
    ask_before_judging: bool = False,
) -> str:
    """Takes families from two checkpoints to a verdict, and writes one report.

    A family that fails does not stop the others; the run fails in the end and says which.

    Args:
        families: Names of the registry; by default the twelve of the published tables.
        alpha: One α for all, as `0.3`, in place of each family's own; or `search`: each family's is
            searched for, on its held-out prompts, as the parameter search says.
        curve: More values of α, as `[0.1, 0.3, 1.0]`, each against the original on held-out instructions.
        arms: `original`, `expo`, or both; only both make a verdict.
        benchmarks: Names of benchmarks; none of them extrapolates only.
        prompts: A file of your own prompts, as `/data/prompts.jsonl`, JSON lines with a "prompt" each, as a
            benchmark besides: + ExPO's answers against the original's, in both orders.
        guards: Benchmarks that a rule verifies, which say what the gain costs: `ifeval`, `ifbench`, `gsm8k`;
            with the points that may be lost `ifeval=3`, with a sample of the items `gsm8k:200`.
        judge: Who judges the answers: any OpenAI-compatible endpoint, or a checkpoint to serve.
            Its API key is read from the environment of the worker; its limits are the run's.
        store: Where artefacts go: a folder or `s3://bucket/prefix`; None: $EXPO_STORE.
        inputs: `stream` reads the checkpoints' weights by ranges as they are needed: no disk for
            them, and no sha256 of a file that is not read whole. An engine still downloads its model.
        dequantize: Whether fp8 weights are multiplied by their scales; both arms are bf16 models then.
        publish_to: Where on the Hugging Face Hub the models go, privately: a namespace, as `my-org`, or
            `my-org/my-model` for a single family. None: nothing is uploaded.
        rejudge: `failed` asks once more for the items that finished judgings have no judgment of.
        anchors: A file of stored annotations, as `/data/annotations.json`; the judge judges a sample of
            them again, and the report says how far it agrees with theirs.
        generation: How the answers are made: `endpoint` (an OpenAI-compatible server in place of a
            local engine), `max_failed` (the share of answers that it may fail to give), `seeds`
            (generations of each arm), `noise_band` (an A/A run).
        search: How, where alpha is "search": what scores, the candidates, the rails. None: the
            judge scores, by its preference over α = 0.
        deployment: The deployment that runs each family, as `expo-family/gpu`, on the machines of its
            work pool; the store has to be one that all of them reach. None: in this process, one
            family after another.
        ask_before_judging: Pause before anything is done, with the estimate of all families on a form, until
            a person lets the judge be paid. The benchmarks' data has to be on this machine as well.

    Returns:
        The uri of the run's report in the store.
    """
    store = Store(store or default_store()).uri
    families = tuple(dict.fromkeys(families))
    config = RunConfig(
        alpha=alpha,
        curve=curve,
        arms=arms,
        benchmarks=benchmarks,
        prompts=prompts,
        guards=guards,
        judge=split_budget(judge, len(families)) if judge else None,
        store=store,
        inputs=inputs,
        dequantize=dequantize,
        publish_to=publish_to,
        rejudge=rejudge,
        generation=generation,
        search=search,
    )
    check_run(families, config)
    if anchors:
        check_root("anchors", anchors)
    if ask_before_judging:
        estimate = estimate_run(families, config.model_copy(update={"judge": judge}), anchors=bool(anchors))
        if estimate:
            require_approval(estimate)
    measured = (measure_anchors(anchors, judge, store),) if anchors and judge else ()
    before = frozenset(Store(store).names("verdicts"))
    states = _run_families(families, config, deployment)
    results = tuple(_result(name, state, before) for name, state in states.items())
    uri = report(_report_name(), results, store, tuple(anchored.agreement for anchored in measured))
    if failed := [result.family for result in results if result.reason]:
        raise ExpoError(
            f"{len(failed)} of {len(families)} families failed: {', '.join(failed)}; the report is {uri}"
        )
    return uri


def check_run(families: Sequence[FamilyName], config: RunConfig) -> None:
    """Refuses what cannot be done before anything is spent.

    Raises:
        InputError: a family without a judge, one repository for several families, a store that this
            worker does not allow, a guard that is judged too, or a search with fp8 weights.
        PermanentError: what scores a guard is not installed.
    """
    check_root("store", str(config.store))
    target = config.publish_to
    if target and "/" in target and len(families) > 1:
        raise InputError(f"publish_to {target!r}: a repository holds one model; give a namespace")
    if config.dequantize and config.alpha == "search":
        raise InputError(
            "an engine that has loaded fp8 weights takes no bf16 ones while it runs, so no search "
            "dequantizes: give α, or search with bf16 checkpoints"
        )
    benchmarks = asked_benchmarks(config.benchmarks, config.prompts)
    guards = [guard.name for guard in guards_of_run(config.guards, benchmarks)]
    for name in families if benchmarks else ():
        find_judges(find_family(name), config.judge, [*benchmarks, *guards])


def _run_families(
    families: tuple[FamilyName, ...], config: RunConfig, deployment: str | None
) -> dict[FamilyName, State[Any]]:
    """Each family's final state, in the order of `families`; the largest begin first.

    What takes longest decides when a run ends, so nothing may wait behind it.
    """
    largest_first = sorted(families, key=lambda name: -(find_family(name).billions or 0))
    if deployment is None:
        states = {name: expo_family(name, config, return_state=True) for name in largest_first}
    else:
        futures = {name: family_run.submit(name, deployment, config) for name in largest_first}
        for future in futures.values():
            future.wait()
        states = {name: future.state for name, future in futures.items()}
    return {name: states[name] for name in families}


def _report_name() -> str:
    """The run's name; a run that is retried writes another report, since none is ever changed."""
    name, again = report_name(str(flow_run.name)), int(flow_run.run_count)
    return f"{name}-{again}" if again > 1 else name


def _result(
    name: FamilyName, state: State[str | FamilyResult | None], before: frozenset[str]
) -> FamilyResult:
    """How a family ended; of one that failed the error itself, not Prefect's words around it.

    before   the names of the store's verdicts when the run began: one that was there cost nothing
    """
    timeline = take_timeline(str(state.state_details.flow_run_id))  # of a family in this process
    if state.is_completed():
        found = state.result()
        if not isinstance(found, FamilyResult):
            found = FamilyResult(family=name, report=found, timeline=timeline)
        return found.model_copy(update={"cached": (found.report or "").rpartition("/")[2] in before})
    error = state.result(raise_on_failure=False)
    stage, reason = failed_stage(error) or "run", str(error) or repr(error)
    return FamilyResult(family=name, stage=stage, reason=reason, timeline=timeline)
