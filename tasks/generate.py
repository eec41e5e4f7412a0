"""Stage generate: the answers of one or more arms to a benchmark's instructions."""

from tasks.benchmarks.registry import find_benchmark
from tasks.comparison.arm import Arm
from tasks.comparison.decoding import ArmEndpoints
from tasks.comparison.instructions import Instructions
from tasks.comparison.results import Generation
from tasks.core.values import fingerprint
from tasks.generation.answers import SUMMARY, answers_file, require_answered
from tasks.generation.devices import gpus_of
from tasks.generation.interpreter import engine_name, engine_python
from tasks.generation.process import generate as run_engine
from tasks.generation.settings import MAX_FAILED, Endpoint, GenerationJob, GenerationSettings
from tasks.runtime.limits import hold_engine
from tasks.runtime.progress import Progress, run_logger
from tasks.runtime.recorder import begin_work
from tasks.runtime.run_names import arms_title
from tasks.runtime.stage import stage
from tasks.stats.formatting import counts
from tasks.stores.artefact import Artefact, Store

__all__ = ["generate"]


@stage(lambda what, arms: f"generate {what}, {arms_title(arms)}")
def generate(
    what: str,  # noqa: ARG001 - names the task run
    arms: tuple[Arm, ...],
    instructions: Instructions,
    settings: GenerationSettings,
    store: str,
    endpoint: ArmEndpoints | None = None,
    max_failed: float = MAX_FAILED,
) -> tuple[Generation, ...]:
    """One generation for each arm, all decoded alike, one engine process after the other's model.

    With an endpoint no engine is started, and no model is brought to this machine.

    max_failed  the share of answers that an endpoint may fail to give

    Raises:
        InputError: the model has no chat template, or an instruction is too long for it.
        PermanentError: the model cannot be served with these settings, or the endpoint gave too few
            answers; the message says what to set.
        RetryableError: the engine died; the next try goes on behind the last whole batch.
    """
    served = [endpoint.of(arm) if endpoint else None for arm in arms]
    targets = [
        _artefact(arm, instructions, settings, store, at) for arm, at in zip(arms, served, strict=True)
    ]
    todo = [index for index, (target, _) in enumerate(targets) if target.manifest() is None]
    if len(todo) < len(arms):
        run_logger().info(f"finished before: {len(arms) - len(todo)} of {len(arms)} arms")
    jobs = [
        _job(arms[index], targets[index][0], instructions, settings, store, served[index], max_failed)
        for index in todo
    ]
    progress = Progress(len(todo) * instructions.answers, "answers")
    if jobs:
        with hold_engine(0 if endpoint else gpus_of(settings)):
            begin_work()
            summaries = run_engine(jobs, advance=progress.advance, python=engine_python())
        for index, summary in zip(todo, summaries, strict=True):
            artefact, name = targets[index]
            _finish(
                artefact,
                Generation(
                    arm=arms[index],
                    uri=artefact.uri,
                    fingerprint=name,
                    settings=settings,
                    summary=summary,
                    benchmark=instructions.benchmark,
                ),
            )
    return tuple(_checked(target, max_failed) for target, _ in targets)


def _checked(artefact: Artefact, max_failed: float) -> Generation:
    """A finished generation, if it has enough answers: an earlier run may have allowed fewer."""
    generation = Generation.model_validate_json(artefact.manifest() or b"")
    failures, label = generation.summary.failures, generation.arm.label
    require_answered(label, generation.uri, failures, generation.summary.count, max_failed)
    if failures:
        run_logger().warning(
            f"{label}: {sum(failures.values())} of {generation.summary.count} answers were not given and "
            f"count as empty: {counts(failures)}"
        )
    return generation


def _artefact(
    arm: Arm, instructions: Instructions, settings: GenerationSettings, store: str, endpoint: Endpoint | None
) -> tuple[Artefact, str]:
    """The generation's place in the store, by all that decides its answers."""
    engine = endpoint.model_dump(exclude={"api_key_env"}) if endpoint else engine_name()
    name = fingerprint({"arm": arm.fingerprint, "asked": instructions.sha256, "engine": engine}, settings)
    return Store(store).artefact("generations", name[:16]), name


def _job(
    arm: Arm,
    artefact: Artefact,
    instructions: Instructions,
    settings: GenerationSettings,
    store: str,
    endpoint: Endpoint | None,
    max_failed: float,
) -> GenerationJob:
    return GenerationJob(
        model=arm.fingerprint if endpoint else str(arm.folder(Store(store))),
        instructions=str(instructions.path()),
        output=str(artefact.work_dir()),
        settings=settings,
        generator=arm.label,
        benchmark=instructions.benchmark,
        form=find_benchmark(instructions.benchmark).form,
        endpoint=endpoint,
        max_failed=max_failed,
    )


def _finish(artefact: Artefact, generation: Generation) -> None:
    folder = artefact.work_dir()
    if artefact.local is None:
        form = find_benchmark(generation.benchmark).form
        for name in (answers_file(generation.benchmark, form), SUMMARY):
            artefact.copy_in(folder / name, name)
    artefact.seal(generation.model_dump_json(indent=1).encode())
