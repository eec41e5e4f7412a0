"""Base job templates of the work pools: Prefect's own for each kind of worker, with our changes.

    python -m deployments.job_templates kubernetes > kubernetes.json
    prefect work-pool create expo --type kubernetes --base-job-template kubernetes.json

The changes are JSON patches (RFC 6902) in pools/<kind>.yaml. So what a new Prefect adds to its
templates is taken over, and what it takes away from under us is an error here.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import jsonpatch
import yaml
from prefect.plugins import load_prefect_collections
from prefect.workers.base import BaseWorker

from tasks.errors import InputError

__all__ = ["PoolKind", "base_job_template"]

PoolKind = Literal["process", "docker", "kubernetes"]
CHANGES = Path(__file__).parent / "pools"


def base_job_template(kind: PoolKind) -> dict[str, Any]:
    """The template of a work pool, as `prefect work-pool create --base-job-template` takes it.

    Raises:
        InputError: there is no such kind, its worker is not installed, or Prefect's own template
            no longer has what the patch changes.
    """
    if kind not in get_args(PoolKind):
        raise InputError(f"no pool kind {kind!r}; there are {', '.join(get_args(PoolKind))}")
    load_prefect_collections()
    worker = BaseWorker.get_worker_class_from_type(kind)
    if worker is None:
        raise InputError(f"no {kind} worker is installed; install the extra `cluster`")
    file = CHANGES / f"{kind}.yaml"
    try:
        changed: dict[str, Any] = jsonpatch.apply_patch(
            worker.get_default_base_job_template(), yaml.safe_load(file.read_text())
        )
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise InputError(f"{file}: does not fit Prefect's template for {kind} workers: {error}") from error
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python -m deployments.job_templates {'|'.join(get_args(PoolKind))}")
    print(json.dumps(base_job_template(sys.argv[1]), indent=2))  # type: ignore[arg-type]
