"""Families as runs of a deployment: a failed one stops no other, a retried parent finds what is done,
and who cancels the parent ends the families and their engines."""

import psutil  # type: ignore[import-untyped]
import pytest

from tests.drills.stage import POLL, Stage, report_of
from tests.servers.prefect import end
from tests.servers.processes import command_line, descendants, ended
from tests.servers.s3 import BUCKET
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.drill]

GOOD = ("zephyr-7b-alpha", "internlm2-chat-20b")


def test_a_failed_family_and_the_retry_of_its_parent(stage: Stage) -> None:
    worker = stage.worker("children")
    try:
        run = stage.begin(
            "expo/all-models",
            families=[*GOOD, "broken"],
            benchmarks=[],
            deployment="expo-family/cpu",
            store=f"s3://{BUCKET}/children",
        )
        failed = stage.ended(run)
        assert failed.state and failed.state.is_failed(), stage.log("children")
        assert "1 of 3 families failed: broken" in str(failed.state.message)
        summary = str(stage.artifact(run, "expo-report").data)
        for name, outcome in ((GOOD[0], "done"), (GOOD[1], "done"), ("broken", "failed")):
            assert f"| {name} | – | {outcome} |" in summary
        assert "**broken** failed in resolve" in summary and "nobody/nothing" in summary
        (failure,) = report_of(stage, failed, "children").failures
        assert (failure.family, failure.stage) == ("broken", "resolve")
        first = {child.id for child in stage.children(run)}
        assert len(first) == 3

        stage.retry(run)
        wait_until(lambda: (stage.run_of(run).run_count or 0) >= 2, "the retry", every=POLL)
        again = stage.ended(run)
        assert again.state and again.state.is_failed()
        new = [child for child in stage.children(run) if child.id not in first]
        assert [child.parameters["family"] for child in new] == ["broken"]
    finally:
        end(worker)


def test_cancelling_the_parent_ends_families_and_engines(stage: Stage) -> None:
    worker = stage.worker("cancelled")
    engines: list[psutil.Process] = []

    def found() -> bool:
        below = descendants(worker.pid)
        engines[:] = [process for process in below if "tasks.generation" in command_line(process)]
        return bool(engines)

    try:
        run = stage.begin(
            "expo/all-models",
            families=[GOOD[0]],
            judge=stage.judge,
            generation={"seeds": 8},  # it has work left when it is cancelled
            deployment="expo-family/cpu",
            store=f"s3://{BUCKET}/cancelled",
        )
        wait_until(found, "an engine", every=0.5)
        stage.command("flow-run", "cancel", str(run))
        cancelled = stage.ended(run)
        assert cancelled.state and cancelled.state.is_cancelled(), stage.log("cancelled")
        (child,) = stage.children(run)
        assert (state := stage.ended(child.id).state) and state.is_cancelled(), stage.log("cancelled")
        wait_until(lambda: all(ended(process) for process in engines), "the engines' end")
    finally:
        end(worker)
