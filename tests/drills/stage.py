"""The servers of every drill: Prefect with workers, S3, a Hub with the stand-in families, and a judge.

All of it is real but the checkpoints (tiny stand-ins under the real ids) and the judge (the longer
answer wins). Everything binds to 127.0.0.1 and is ended by its own process id.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import fsspec
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.reports.run_report import RunReport
from tasks.runtime.run_names import report_name
from tests.servers.judge import JudgeServer
from tests.servers.prefect import PrefectServer, bootstrap, start_worker
from tests.servers.s3 import BUCKET, S3Server
from tests.waiting import wait_until
from tests.zoo.serve import TOKEN, serve_zoo
from tests.zoo.tiny_families import SPECS

__all__ = ["FOURTEEN", "Stage", "report_of", "set_up"]

FOURTEEN = tuple(SPECS)
QUESTIONS = ("Hi!", "What is the capital of France?", "Write a poem.", "Why is the sky blue?")
BROKEN = {
    "aligned": "nobody/nothing",
    "sft": "nobody/nothing-sft",
    "alpha": 0.5,
    "alpha_source": "none",
    "architecture": "Llama",
    "group": "experimental",
}
POLL = 1.0  # seconds; a question costs client and server a tenth of one
SHORT = {"max_tokens": 24, "tensor_parallel_size": 1}


@dataclass
class Stage:
    """The servers, and the environment in which a worker reaches all of them."""

    folder: Path
    prefect: PrefectServer
    s3: S3Server
    environment: dict[str, str]
    judge: dict[str, str]

    @classmethod
    def of(cls, prefect: PrefectServer) -> Self:
        """A stage of a Prefect server alone, to look at its records."""
        return cls(Path(), prefect, S3Server(Path()), {}, {})

    def asking(self, questions: int) -> Self:
        """The same servers; the workers that it starts ask every family so many questions."""
        families = _registry(self.folder / f"asking-{questions}", questions)
        return replace(self, environment={**self.environment, "EXPO_FAMILIES": str(families)})

    def worker(self, name: str, pool: str = "expo") -> "subprocess.Popen[bytes]":
        """Starts a process worker with a log of its own; the caller ends it."""
        return start_worker(self.prefect.url, pool, self.folder / name, self.environment)

    def begin(self, name: str, /, **parameters: Any) -> UUID:  # noqa: ANN401 - a flow's parameters
        """Starts a run of a deployment; its id."""
        with self._client() as client:
            found = client.read_deployment_by_name(name)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def run_of(self, run: UUID) -> FlowRun:
        with self._client() as client:
            return client.read_flow_run(run)

    def is_over(self, run: UUID) -> bool:
        return bool((state := self.run_of(run).state) and state.is_final())

    def ended(self, run: UUID) -> FlowRun:
        """Waits for a run's end."""
        wait_until(lambda: self.is_over(run), f"run {run}", every=POLL)
        return self.run_of(run)

    def retry(self, run: UUID) -> None:
        """`prefect flow-run retry`."""
        self.command("flow-run", "retry", str(run))

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env=os.environ | {"PREFECT_API_URL": self.prefect.url},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def children(self, run: UUID) -> list[FlowRun]:
        """The runs of a run's families, sub-flows or runs of a deployment."""
        with self._client() as client:
            parent = FlowRunFilterParentFlowRunId(any_=[run])
            return client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent))

    def task_runs(self, run: UUID) -> list[TaskRun]:
        """Every task run of a run and of its families."""
        runs = FlowRunFilter(id=FlowRunFilterId(any_=[run, *(child.id for child in self.children(run))]))
        found: list[TaskRun] = []
        with self._client() as client:
            while page := client.read_task_runs(
                flow_run_filter=runs, offset=len(found), limit=200, sort=TaskRunSort.ID_DESC
            ):
                found += page
        return found

    def files(self, prefix: str = "store") -> dict[str, str]:
        """sha256 of everything that a run computes, by its name in the store."""
        patterns = (".safetensors", "answers.json", "annotations.json")
        system, root = self._store(), f"{BUCKET}/{prefix}"
        return {
            name.removeprefix(root): sha256(system.cat_file(name)).hexdigest()
            for name in system.find(root)
            if name.endswith(patterns)
        }

    def read(self, name: str, prefix: str = "store") -> bytes | None:
        """A file of the store, None if there is none."""
        try:
            content: bytes = self._store().cat_file(f"{BUCKET}/{prefix}/{name}")
        except FileNotFoundError:
            return None
        return content

    def artifact(self, run: UUID, key: str) -> Artifact:
        """The latest artifact of a run under a key."""
        with self._client() as client:
            found = client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
                )
            )
        return max(found, key=lambda found: str(found.created))

    def log(self, name: str) -> str:
        """The end of a worker's log."""
        return (self.folder / name / "worker.log").read_text()[-6000:]

    def _store(self) -> Any:  # noqa: ANN401 - fsspec has no types
        options = {"endpoint_url": self.s3.url}
        environment = self.s3.environment()
        return fsspec.filesystem(
            "s3",
            key=environment["AWS_ACCESS_KEY_ID"],
            secret=environment["AWS_SECRET_ACCESS_KEY"],
            client_kwargs=options,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    @contextmanager
    def _client(self) -> Iterator[SyncPrefectClient]:
        with temporary_settings({PREFECT_API_URL: self.prefect.url}), get_client(sync_client=True) as client:
            yield client


@contextmanager
def set_up(folder: Path) -> Iterator[Stage]:
    """All servers, bootstrapped; families with a few questions and short answers by $EXPO_FAMILIES."""
    families = _registry(folder, len(QUESTIONS))
    with ExitStack() as servers:
        servers.enter_context(judge := JudgeServer())
        hub = servers.enter_context(serve_zoo())
        s3 = servers.enter_context(S3Server(folder / "s3"))
        server = servers.enter_context(PrefectServer(folder / "prefect"))
        environment = {
            **hub.environment(folder / "hub", TOKEN),
            **s3.environment(),
            "EXPO_STORE": f"s3://{BUCKET}/store",
            "EXPO_CACHE": str(folder / "cache"),
            "EXPO_FAMILIES": str(families),
            "PREFECT_API_URL": server.url,
        }
        bootstrap(server.url, families=families)
        yield Stage(folder, server, s3, environment, {"model": "longer", "base_url": judge.url})


def _registry(folder: Path, questions: int) -> Path:
    """The file of a registry whose families are asked so many questions, and answer in few words."""
    folder.mkdir(exist_ok=True)
    asked, families = folder / "questions.json", folder / "families.yaml"
    rows = [
        {"instruction": f"{QUESTIONS[number % 4]} ({number})", "output": "Yes.", "generator": "reference"}
        for number in range(questions)
    ]
    asked.write_text(json.dumps(rows))
    changed = {name: SHORT | {"instructions": str(asked)} for name in FOURTEEN}
    families.write_text(json.dumps(changed | {"broken": BROKEN}))
    return families


def report_of(stage: Stage, run: FlowRun, prefix: str = "store") -> RunReport:
    """The last report that a run has written: one that was retried has one of each try."""
    name = report_name(str(run.name))
    names = (f"{name}-{run.run_count}", name)
    found = [content for name in names if (content := stage.read(f"reports/{name}/report.json", prefix))]
    return RunReport.model_validate_json(found[0])
