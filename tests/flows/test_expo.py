"""The flow "expo" where families fail: the others go on, and the end is honest."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlparse
from uuid import UUID

import pytest
import torch
from prefect import flow, get_client, task
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
)
from prefect.client.schemas.objects import Artifact
from prefect.context import TaskRunContext
from prefect.runtime import flow_run

from tasks.comparison.arm import Arm
from tasks.comparison.run_config import RunConfig
from tasks.core.errors import CorruptError, ExpoError, InputError, MismatchError, RetryableError
from tasks.core.families import find_family
from tasks.core.family_result import FamilyResult
from tasks.report import report
from tasks.reports.run_report import FamilyReport, RunReport, StageCost
from tasks.reports.stored import FAMILY_REPORT
from tasks.runtime.limits import hold
from tasks.runtime.progress import Progress
from tasks.runtime.stage import failed_stage, stage
from tasks.stats.decision import decide
from tasks.stats.metrics import ArmMetrics, ArmResult
from tasks.stores.artefact import Store
from tasks.stores.open import open_source, reopen
from tasks.weights.folder import model_artefact, put_shard
from tasks.weights.planner import make_plan
from tasks.weights.shard_writer import write_shard
from tasks.weights.verify import verify
from tests.weights.adapters import merged_by_peft, save_adapter
from tests.weights.checkpoints import pair, read_tensors
from tests.weights.fp8_sides import FP8_CONFIG, plain, quantize, write_fp8
from tests.weights.models import save_llama

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


def test_failed_family_is_reported_and_the_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families whose checkpoints do not exist: two failures in one report, no server asked."""
    from flows.expo import expo
    from flows.parameters import FamilyName
    from tasks.benchmarks.judge_config import Judge

    def missing(uri: str, revision: str | None = None) -> None:
        raise InputError(f"{uri}: no such repository")

    monkeypatch.setattr("tasks.weights.adapter_base.open_source", missing)
    judge = Judge(model="some-judge", base_url="http://127.0.0.1:9/v1")
    families = (FamilyName("zephyr-7b-beta"), FamilyName("tulu-2-dpo-7b"))
    with pytest.raises(ExpoError, match="2 of 2 families failed: zephyr-7b-beta, tulu-2-dpo-7b"):
        expo(families, judge=judge, store=str(tmp_path))
    (path,) = tmp_path.glob("reports/*/report.json")
    run = RunReport.model_validate_json(path.read_bytes())
    failures = run.failures
    assert [(failure.family, failure.stage) for failure in failures] == [
        ("zephyr-7b-beta", "resolve"),
        ("tulu-2-dpo-7b", "resolve"),
    ]
    assert failures[0].reason == "HuggingFaceH4/zephyr-7b-beta: no such repository"
    assert [timeline.family for timeline in run.timelines] == ["zephyr-7b-beta", "tulu-2-dpo-7b"]
    assert [row.stage for row in run.timelines[0].rows] == ["resolve"]


def test_missing_judge_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    from flows.expo import expo
    from flows.parameters import FamilyName

    with pytest.raises(InputError, match="zephyr-7b-beta: no judge; give one"):
        expo((FamilyName("demo"), FamilyName("zephyr-7b-beta")), store=str(tmp_path))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (RetryableError("busy"), 4),
        (OSError("dropped"), 4),
        (CorruptError("bad"), 1),
        (MismatchError("no"), 1),
    ],
)
def test_a_stage_is_retried_when_what_failed_may_pass(error: Exception, tries: int) -> None:
    counted = []

    @stage("count {number}")
    def count(number: int) -> None:
        counted.append(number)
        raise error

    with pytest.raises(type(error)) as raised:
        count.with_options(retry_delay_seconds=0)(1)
    assert len(counted) == tries
    assert failed_stage(raised.value) == "count"


def test_models_at_several_alphas_of_which_one_was_further(tmp_path: Path) -> None:
    """A run that was killed had finished a shard at the second α alone: each model gets its own shards."""
    from prefect import flow

    from flows.family import extrapolate_models

    wanted, aligned, sft = pair(tmp_path)
    recipes = (wanted, wanted.model_copy(update={"alpha": 0.5}))
    store = Store(str(tmp_path / "store"))
    first, second = (model_artefact(store, recipe) for recipe in recipes)
    job, part = make_plan(recipes[1], aligned, sft).shards[0], second.scratch() / "part"
    put_shard(write_shard(job, aligned, sft, part), part, second)
    flow(extrapolate_models)(recipes, store.uri)
    for model in (first, second):
        assert verify(open_source(model.uri), reopen, "all").differences == ()


def test_an_adapter_is_merged_for_both_arms(tmp_path: Path) -> None:
    """The original arm is θ_sft + s·BA as a whole model too: both arms are decoded by the same code."""
    from flows.family import extrapolate_models, models_of_arms
    from tasks.resolve import resolve

    save_llama(tmp_path / "sft", seed=1, dtype=torch.float32, tied=False)
    save_adapter(tmp_path / "sft", tmp_path / "adapter")
    checkpoints = {"aligned": str(tmp_path / "adapter"), "sft": str(tmp_path / "sft")}
    entry = find_family("demo").model_copy(update=checkpoints)
    store = Store(str(tmp_path / "store"))

    @flow
    def arms() -> list[Arm]:
        recipes = resolve(entry, (0.5, 2.0))
        extrapolate_models(models_of_arms(recipes), store.uri)
        return [
            Arm(name="original", recipe=recipes[0]),
            *(Arm(name="expo", recipe=recipe) for recipe in recipes),
        ]

    original, *extrapolated = (read_tensors(arm.folder(store)) for arm in arms())
    aligned, sft = merged_by_peft(tmp_path / "sft", tmp_path / "adapter"), read_tensors(tmp_path / "sft")
    for alpha, expo in zip((0.5, 2.0), extrapolated, strict=True):
        for name, tensor in expo.items():
            new = aligned[name].detach()
            assert torch.allclose(original[name], new, rtol=1e-6, atol=1e-6)
            assert torch.allclose(tensor, new + alpha * (new - sft[name]), rtol=1e-5, atol=1e-6)


def test_a_search_does_not_dequantize(tmp_path: Path) -> None:
    """Its engine has loaded fp8 weights, and would be given bf16 ones."""
    from flows.expo import check_run
    from flows.parameters import FamilyName

    config = RunConfig(alpha="search", dequantize=True, store=str(tmp_path))
    with pytest.raises(InputError, match="no search dequantizes"):
        check_run((FamilyName("demo"),), config)


def test_fp8_weights_are_dequantized_for_both_arms(tmp_path: Path) -> None:
    """The original arm is θ_aligned in bf16, so that both arms are decoded by the same code."""
    from flows.family import extrapolate_models, models_of_arms
    from tasks.resolve import resolve

    settings = FP8_CONFIG | {"weight_block_size": [128, 128]}
    checkpoints, exact = {}, {}
    for side, seed in (("aligned", 1), ("sft", 2)):
        held, exact[side] = quantize(plain(seed), "block", "_scale_inv", torch.float32)
        checkpoints[side] = str(write_fp8(tmp_path / side, held, quantization_config=settings).folder())
    entry = find_family("demo").model_copy(update=checkpoints)
    store = Store(str(tmp_path / "store"))

    @flow
    def arms() -> list[Arm]:
        recipes = resolve(entry, (0.5,), dequantize=True)
        extrapolate_models(models_of_arms(recipes), store.uri)
        return [Arm(name="original", recipe=recipes[0]), Arm(name="expo", recipe=recipes[0])]

    original, expo = (read_tensors(arm.folder(store)) for arm in arms())
    for name, new in exact["aligned"].items():
        assert torch.equal(original[name], new.float().bfloat16())
        extrapolated = new + 0.5 * (new - exact["sft"][name])
        assert torch.allclose(expo[name].double(), extrapolated, rtol=2**-8, atol=1e-6)


def test_progress_is_an_artifact_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made in the task's context though another thread counts, then updated, with the time left."""
    monkeypatch.setattr("tasks.runtime.progress.SECONDS_BETWEEN_UPDATES", 0.0)
    seen: list[Artifact] = []

    def read(task_run: UUID) -> Artifact:
        with get_client(sync_client=True) as client:
            (artifact,) = client.read_artifacts(
                artifact_filter=ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=[task_run]))
            )
        return artifact

    @task
    def work() -> None:
        progress, run = Progress(10, "answers"), TaskRunContext.get()
        assert run
        with ThreadPoolExecutor(1) as pool:
            for amount in (2, 3, 5):
                pool.submit(progress.advance, amount).result()
                seen.append(read(run.task_run.id))

    @flow
    def counting() -> None:
        work()

    counting()
    assert [artifact.data for artifact in seen] == [20.0, 50.0, 100.0]
    assert {artifact.key for artifact in seen} == {"expo-answers"}
    assert "5 of 10 answers, about" in (seen[1].description or "")


def test_progress_beyond_what_was_expected_is_no_more_than_whole(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(4, "answers")
    with caplog.at_level(logging.INFO, "expo"):
        for amount in (3, 2, 1):
            progress.advance(amount)
        progress.expect(2)
        progress.advance(2)
    assert [record.message for record in caplog.records] == ["5 of 5 answers", "8 of 8 answers"]


def test_a_run_is_shown_in_short_with_a_link_to_its_page(tmp_path: Path) -> None:
    arms = [ArmMetrics(score=score, standard_error=1.0, mean_length=100) for score in (20.0, 25.0)]
    scores = ([20.0] * 30, [25.0] * 30)
    verdict = decide(
        "demo",
        0.5,
        "alpaca_eval",
        "a judge",
        ArmResult(metrics=arms[0], scores=dict(enumerate(scores[0]))),
        ArmResult(metrics=arms[1], scores=dict(enumerate(scores[1]))),
        unit="percentage points",
    )
    store = Store(str(tmp_path / "a store (mine)"))
    family = store.artefact("verdicts", "one")
    costs = (
        StageCost(stage="generate", seconds=65),
        StageCost(stage="judge", seconds=60, requests=805, dollars=1.5),
    )
    content = FamilyReport(family="demo", alpha=0.5, verdicts=(verdict,), costs=costs).model_dump_json()
    family.write(FAMILY_REPORT, content.encode())
    results = (
        FamilyResult(family="demo", report=family.uri),
        FamilyResult(family="tulu-2-dpo-7b", stage="judge", reason="the judge | refuses the key"),
    )

    @flow
    def reporting() -> tuple[str, str]:
        return str(flow_run.id), report("night (1)", results, store.uri)

    run, folder = reporting()
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run)]))
    with get_client(sync_client=True) as client:
        shown = {
            artifact.key: str(artifact.data) for artifact in client.read_artifacts(artifact_filter=of_run)
        }
    assert shown.keys() == {"expo-report"}
    target = shown["expo-report"].split("](")[1].split(")\n")[0]
    assert f"[{target}](" in shown["expo-report"]
    page = Path(unquote(urlparse(target).path))
    assert page == Path(folder) / "report.html" and "night (1)" in page.read_text()
    assert "| demo | 0.5 | better | 20.00 → 25.00 | +5.00 | +5.00 to +5.00 |" in shown["expo-report"]
    assert "**tulu-2-dpo-7b** failed in judge: the judge \\| refuses the key" in shown["expo-report"]
    assert "| demo | 0.5 | done | 2 min 05 s | 805 | $1.50 |" in shown["expo-report"]
    assert "| tulu-2-dpo-7b | – | failed | – | – | – |" in shown["expo-report"]


def test_slots_of_a_limit_are_held_and_given_back() -> None:
    """More than there are is an error that no waiting mends; a limit that is not there limits nothing."""
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="two-slots", limit=2))

        def held() -> int:
            return client.read_global_concurrency_limit_by_name("two-slots").active_slots

        @task
        def work(limit: str, count: int) -> int:
            with hold(limit, count):
                return held()

        @flow
        def working(limit: str, count: int) -> int:
            return work(limit, count)

        assert working("two-slots", 2) == 2
        assert held() == 0
        assert working("no-such-limit", 7) == 0
        with pytest.raises(InputError, match="two-slots: 3 slots are needed at once"):
            working("two-slots", 3)
    with hold("two-slots", 3):  # outside of a run there is nobody to ask
        pass
