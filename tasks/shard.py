"""Stage shard: download (or stream), extrapolate, upload, on one worker, shard by shard.

The three are tasks of their own, each retried by itself; this one keeps them on one
machine, whose disk they share.
"""

from tasks.download import download
from tasks.extrapolate import extrapolate
from tasks.runtime.progress import run_logger
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.upload import upload
from tasks.weights.folder import finished_shard, model_artefact
from tasks.weights.inputs import InputMode
from tasks.weights.jobs import ShardJob
from tasks.weights.receipts import ShardReceipt

__all__ = ["shard"]


@stage("shard {jobs[0].file}", retries=0)
def shard(jobs: tuple[ShardJob, ...], store: str, inputs: InputMode = "download") -> tuple[ShardReceipt, ...]:
    """One output file at every alpha; what an earlier run finished is only checked, not done again."""
    receipts = [finished_shard(job, model_artefact(Store(store), job.recipe)) for job in jobs]
    todo = tuple(job for job, receipt in zip(jobs, receipts, strict=True) if receipt is None)
    done = [receipt for receipt in receipts if receipt is not None]
    if done:
        run_logger().info(f"finished before, and whole, at {len(done)} of {len(jobs)} alphas")
    if todo:
        if inputs == "download":
            download(todo[0])
        parts = extrapolate(todo, store, inputs)
        done += [upload(job, part, store) for job, part in zip(todo, parts, strict=True)]
    of_job = {receipt.job: receipt for receipt in done}
    return tuple(of_job[job.fingerprint] for job in jobs)
