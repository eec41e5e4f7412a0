"""Stage extrapolate: one output shard, for every alpha asked for, in one pass over the inputs."""

from tasks.runtime.progress import Progress
from tasks.runtime.run_names import models_title
from tasks.runtime.stage import stage
from tasks.stores.artefact import Store
from tasks.stores.open import reopen
from tasks.weights.folder import model_artefact
from tasks.weights.inputs import InputMode
from tasks.weights.jobs import ShardJob
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.receipts import ShardPart
from tasks.weights.shard_steps import write_parts

__all__ = ["extrapolate"]


@stage(lambda jobs: f"extrapolate {jobs[0].file}, {models_title([job.recipe for job in jobs])}")
def extrapolate(
    jobs: tuple[ShardJob, ...], store: str, inputs: InputMode = "download"
) -> tuple[ShardPart, ...]:
    """Writes one part for each job; the jobs are of one output file and differ in alpha.

    Raises:
        CorruptError: a parent holds NaN or Inf, or ends early.
        MismatchError: a parent changed since the plan was made.
    """
    recipe = jobs[0].recipe
    models = [model_artefact(Store(store), job.recipe) for job in jobs]
    parents = Parents(reopen(recipe.aligned), reopen(recipe.sft))
    progress = Progress(sum(job.bytes for job in jobs), "bytes")
    return write_parts(jobs, models, parents, PassOptions(inputs=inputs), progress.advance)
