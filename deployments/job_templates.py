"""Base job templates of the work pools: Prefect's own for each kind of worker, with this project's changes.

    python -m deployments.job_templates kubernetes --gpu > template.json
    prefect work-pool update expo-gpu --base-job-template template.json

The changes are JSON patches (RFC 6902) in pools/<kind>.yaml and pools/<kind>-gpu.yaml. So what a
new Prefect adds to its templates is taken over, and what it removes that a patch needs is an error here.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Literal, get_args

import jsonpatch
import yaml
from prefect.plugins import load_prefect_collections
from prefect.workers.base import BaseWorker

from tasks.core.errors import InputError

__all__ = ["PoolKind", "base_job_template"]

PoolKind = Literal["process", "docker", "kubernetes"]
CHANGES = Path(__file__).parent / "pools"


def base_job_template(kind: PoolKind, *, gpu: bool = False) -> dict[str, Any]:
    """The template of a work pool, as `prefect work-pool create --base-job-template` takes it.

    Args:
        gpu: for the pool `expo-gpu`: with pools/<kind>-gpu.yaml applied too, where there is one.

    Raises:
        InputError: there is no such kind, its worker is not installed, or Prefect's own template
            no longer has what a patch changes.
    """
    if kind not in get_args(PoolKind):
        raise InputError(f"no pool kind {kind!r}; there are {', '.join(get_args(PoolKind))}")
    load_prefect_collections()
    worker = BaseWorker.get_worker_class_from_type(kind)
    if worker is None:
        raise InputError(f"no {kind} worker is installed; install the extra `cluster`")
    template: dict[str, Any] = worker.get_default_base_job_template()
    for name in (kind, f"{kind}-gpu") if gpu else (kind,):
        file = CHANGES / f"{name}.yaml"
        if not file.exists():  # a process has the GPUs of its machine without asking
            continue
        try:
            template = jsonpatch.apply_patch(template, yaml.safe_load(file.read_text()))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise InputError(
                f"{file}: does not fit Prefect's template for {kind} workers: {error}"
            ) from error
    return template


if __name__ == "__main__":
    parser = ArgumentParser(
        prog="python -m deployments.job_templates", description="Prints a template as JSON."
    )
    parser.add_argument("kind", choices=get_args(PoolKind))
    parser.add_argument("--gpu", action="store_true", help="for the pool expo-gpu")
    given = parser.parse_args()
    print(json.dumps(base_job_template(given.kind, gpu=given.gpu), indent=2))
