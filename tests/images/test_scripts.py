"""The images' two scripts, run: secrets from a mounted file, and one Dask worker for each GPU."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.files import DOCKER
from tests.waiting import LIMIT

SHOW = [sys.executable, "-c", "import os, sys; print(os.environ.get('HF_TOKEN'), sys.argv[1:])", "a b"]


def test_entrypoint_reads_the_mounted_secrets(tmp_path: Path) -> None:
    (tmp_path / "expo.env").write_text("# of the Hub\nHF_TOKEN='hf_with space'\n")
    assert _entrypoint(tmp_path / "expo.env") == "hf_with space ['a b']\n"


def test_entrypoint_without_secrets_runs_the_command(tmp_path: Path) -> None:
    assert _entrypoint(tmp_path / "nothing") == "None ['a b']\n"


@pytest.mark.slow
def test_one_pinned_dask_worker_for_each_gpu(tmp_path: Path) -> None:
    """Two GPUs, as nvidia-smi tells them; when one worker's nanny ends, all do."""
    from distributed import Client, LocalCluster

    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    with (
        LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1") as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        script = subprocess.Popen(
            [DOCKER / "dask-gpus.sh", cluster.scheduler_address],
            env=os.environ | {"PATH": path},
            cwd=tmp_path,
            start_new_session=True,
        )
        try:
            client.wait_for_workers(2, timeout=LIMIT)
            pinned = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
            assert sorted(pinned.values()) == ["0", "1"]
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            assert [(worker["nthreads"], worker["resources"]) for worker in workers] == [
                (1, {"GPU": 1.0})
            ] * 2
            os.kill(_children(script.pid)[0], signal.SIGKILL)
            assert script.wait(timeout=LIMIT) == 1
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
                script.wait()


def _entrypoint(secrets: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    return subprocess.run(
        [DOCKER / "entrypoint.sh", *SHOW],
        env=environment | {"EXPO_SECRETS": str(secrets)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _children(pid: int) -> list[int]:
    """The script's `dask worker` processes, not its `sleep`."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"dask" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(int(child))
    return found
