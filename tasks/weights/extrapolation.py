"""The whole job on one machine: every shard of one model, or of the same model at several α."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Lock

from tasks.core.errors import ExpoError
from tasks.stores.artefact import Artefact
from tasks.stores.disk import check_room
from tasks.stores.source import Source
from tasks.weights.folder import claimed_model, give_up_unbegun, seal
from tasks.weights.jobs import Plan, ShardJob
from tasks.weights.manifest import Manifest
from tasks.weights.pass_memory import shards_at_once
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.prefetch import are_local
from tasks.weights.receipts import ShardReceipt
from tasks.weights.shard_steps import DirectSteps, make_shard
from tasks.weights.shard_writer import Advance
from tasks.weights.slot_queue import StoppedError

__all__ = ["extrapolate", "extrapolate_all"]

Receipts = tuple[ShardReceipt, ...]


def extrapolate(
    plan: Plan,
    aligned: Source,
    sft: Source,
    model: Artefact,
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    advance: Advance = lambda _: None,
) -> Manifest:
    """One model: see `extrapolate_all`."""
    return extrapolate_all([plan], Parents(aligned, sft), [model], options, advance)[0]


def extrapolate_all(
    plans: Sequence[Plan],
    parents: Parents,
    models: Sequence[Artefact],
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    advance: Advance = lambda _: None,
) -> tuple[Manifest, ...]:
    """A model for each plan, the inputs read once: every shard that is not finished yet, then the seals.

    The plans are of one pair and differ in α. A run that was killed is resumed: only the
    shards that were in flight are done again. A model that is whole is returned as it is.
    Fewer than `options.workers` shards are made at once where the memory budget is smaller.
    `advance` gets bytes of output, also for shards that were finished before, from one thread at a time.

    Raises:
        InputError: a folder holds something else.
        PermanentError: the disk has too little room, or is full.
        MismatchError, CorruptError: as `write_shards`.
    """
    whole = [claimed_model(plan, model) for plan, model in zip(plans, models, strict=True)]
    advance(sum(plan.output_bytes for plan, manifest in zip(plans, whole, strict=True) if manifest))
    todo = [
        pair for pair, manifest in zip(zip(plans, models, strict=True), whole, strict=True) if not manifest
    ]
    try:
        made = iter(_make_all(todo, parents, options, advance))
    except ExpoError:
        for _, model in todo:
            give_up_unbegun(model)
        raise
    return tuple(manifest or next(made) for manifest in whole)


def _make_all(
    todo: Sequence[tuple[Plan, Artefact]], parents: Parents, options: PassOptions, advance: Advance
) -> list[Manifest]:
    models = [model for _, model in todo]
    remote = not are_local(*parents) or any(model.local is None for model in models)
    for model in models:
        model.remove_abandoned_parts()
    _check_room(todo, parents)
    meter = _Meter(advance)

    def make(jobs: Sequence[ShardJob]) -> Receipts:
        steps = DirectSteps(jobs, models, parents, options, meter.advance)
        return make_shard(jobs, models, steps, lambda done: meter.advance(sum(made.size for made in done)))

    with ThreadPoolExecutor(options.workers or shards_at_once(remote)) as pool:
        shards = zip(*(plan.shards for plan, _ in todo), strict=True)
        receipts = _results([pool.submit(make, jobs) for jobs in shards], meter)
    of_models = list(zip(*receipts, strict=True)) or [() for _ in todo]
    return [seal(plan, made, parents, model) for (plan, model), made in zip(todo, of_models, strict=True)]


class _Meter:
    """Passes progress on from several threads, and ends them at the next slot when one has failed."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._lock = Lock()
        self.stopped = False

    def advance(self, written: int) -> None:
        with self._lock:
            if self.stopped:
                raise StoppedError
            self._advance(written)


def _results(futures: Sequence[Future[Receipts]], meter: _Meter) -> list[Receipts]:
    """All results, or the first failure at once."""
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    except BaseException:
        meter.stopped = True
        for future in futures:
            future.cancel()
        raise


def _check_room(todo: Sequence[tuple[Plan, Artefact]], parents: Parents) -> None:
    """All that is still to come has to fit; what goes to S3 passes through the disk shard by shard."""
    here = [(plan, model) for plan, model in todo if model.local]
    missing = sum(
        shard.bytes - (model.size(shard.file) or 0) for plan, model in here for shard in plan.shards
    )
    for plan, model in here:
        sides = {
            **dict.fromkeys(plan.side_files, parents.aligned),
            **dict.fromkeys(plan.sft_side_files, parents.sft),
        }
        missing += sum(
            source.files()[name].size for name, source in sides.items() if model.size(name) is None
        )
    if here:
        check_room(here[0][1].scratch(), missing)
