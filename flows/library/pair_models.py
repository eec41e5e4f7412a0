"""The functions of a pair's models: check, extrapolate, verify. They load neither Prefect nor vLLM.

Each imports what it alone needs, so that `expo check`, which reads no weights, starts without numpy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tasks.core.errors import InputError
from tasks.stores.artefact import Artefact
from tasks.stores.open import open_source, reopen
from tasks.weights.adapter_base import open_parents
from tasks.weights.hints import exchanged
from tasks.weights.jobs import Plan
from tasks.weights.manifest import Manifest
from tasks.weights.pair_settings import PairSettings
from tasks.weights.pass_options import Parents, PassOptions
from tasks.weights.planner import make_plan, make_plans

if TYPE_CHECKING:
    from tasks.weights.shard_writer import Advance
    from tasks.weights.verify import Verification

__all__ = [
    "ExpoModel",
    "ProgressCallback",
    "check",
    "extrapolate",
    "folders_of",
    "place_of",
    "plain_alpha",
    "plans_of",
    "verify",
    "write_models",
]

ProgressCallback = Callable[[int, int], None]
"""Gets the bytes that are written and the bytes that there will be; never called by two threads at once."""


class ExpoModel(NamedTuple):
    """A model that `extrapolate` has written.

    uri       the folder or s3://… that it is in
    manifest  its manifest, as it lies there
    """

    uri: str
    manifest: Manifest

    @property
    def alpha(self) -> float:
        """Its α."""
        return self.manifest.recipe.alpha


def check(
    aligned: str,
    sft: str | None = None,
    alpha: float = 0.5,
    settings: PairSettings = PairSettings(),  # noqa: B008 - a frozen value
) -> Plan:
    """Whether two checkpoints fit and what the extrapolation takes, from headers alone.

    Args:
        aligned: The aligned checkpoint θ_1, or a LoRA adapter: a folder, hub id[@revision] or s3://….
        sft: The SFT checkpoint θ_0; None: the base model that the adapter names.
        alpha: α in θ_1 + α·(θ_1 − θ_0).
        settings: How the two are combined.

    Returns:
        The plan: bytes to read and write, shards, files that are copied, notices.

    Raises:
        MismatchError: the two do not fit; the message names every mismatch and what to do.
        InputError: there is no such checkpoint.
        CorruptError: a file of either is damaged.
    """
    parents = open_parents(aligned, sft)
    plan = make_plan(settings.recipe(parents, alpha), *parents)
    hint = exchanged(*parents)
    return plan.model_copy(update={"notices": (*plan.notices, hint)}) if hint else plan


def extrapolate(
    aligned: str,
    sft: str | None,
    alpha: float | Sequence[float],
    out: str | Path,
    settings: PairSettings = PairSettings(),  # noqa: B008 - a frozen value
    *,
    options: PassOptions = PassOptions(),  # noqa: B008 - a frozen value
    progress: ProgressCallback | None = None,
) -> tuple[ExpoModel, ...]:
    """Writes the ExPO model of two checkpoints, at one α or several in one pass over the inputs.

    Resumes after an interruption; a model that is whole already is returned as it is.

    Args:
        aligned: The aligned checkpoint θ_1, or a LoRA adapter: a folder, hub id[@revision] or s3://….
        sft: The SFT checkpoint θ_0; None: the base model that the adapter names.
        alpha: α in θ_1 + α·(θ_1 − θ_0), or several.
        out: A folder, made if need be, or s3://…; of several α: OUT/alpha-0.1, OUT/alpha-0.3, ….
        settings: How the two are combined.
        options: How the pass is made (streamed, device, threads); changes no byte of the output.
        progress: Called with the bytes written so far and in all.

    Returns:
        The models, in the order of their α.

    Raises:
        MismatchError: the two do not fit; the message names every mismatch and what to do.
        InputError: there is no such checkpoint, or `out` holds something else.
        CorruptError: an input is damaged, or holds NaN or Inf.
        PermanentError: the disk has too little room.
        RetryableError: a store or the Hub did not answer.
    """
    alphas = (alpha,) if isinstance(alpha, (int, float)) else tuple(dict.fromkeys(alpha))
    parents = open_parents(aligned, sft)
    plans = plans_of(parents, alphas, settings)
    total, written = sum(plan.output_bytes for plan in plans), 0

    def advance(amount: int) -> None:
        nonlocal written
        written += amount
        if progress:
            progress(written, total)

    return write_models(plans, parents, str(out), options, advance)


def verify(
    model: str | Path,
    *,
    tensors: int | None = 16,
    files_only: bool = False,
    seed: int | None = None,
    public_key: bytes | None = None,
) -> "Verification":
    """Hashes a model's files, holds them against the parents, and computes tensors again by numpy.

    Args:
        model: A folder, s3://… or hub id[@revision].
        tensors: How many are computed again, beside the first and last of each shard; None: all.
        files_only: Only hash the files, without the parents.
        seed: Of the sample; None: another each time.
        public_key: PEM; the model has to be signed by its private half.

    Returns:
        What was checked; `differences` is empty for a model that is as it was written.

    Raises:
        InputError: there is no manifest: no model, or one that is not finished.
        RetryableError: a store or the Hub did not answer.
    """
    from tasks.weights.verify import verify as verify_model

    parents = None if files_only else reopen
    return verify_model(
        open_source(str(model)), parents, "all" if tensors is None else tensors, seed, public_key
    )


def plans_of(parents: Parents, alphas: Sequence[float], settings: PairSettings) -> tuple[Plan, ...]:
    """A plan for each α, from headers alone.

    Raises:
        InputError: there is no α.
        MismatchError: as `check`.
    """
    if not alphas:
        raise InputError("extrapolate: no α; give one, or several")
    # a preset's parts are shares of α, so each α has a recipe of its own
    return make_plans([settings.recipe(parents, alpha) for alpha in alphas], *parents)


def write_models(
    plans: Sequence[Plan], parents: Parents, out: str, options: PassOptions, advance: "Advance"
) -> tuple[ExpoModel, ...]:
    """Writes one model for each plan into `out`, or into a folder of it for each α.

    `advance` gets bytes of output; raises as `extrapolate_all`.
    """
    from tasks.weights.extrapolation import extrapolate_all

    models = [Artefact(place_of(folder)) for folder in folders_of(plans, out)]
    manifests = extrapolate_all(plans, parents, models, options, advance)
    return tuple(ExpoModel(model.uri, manifest) for model, manifest in zip(models, manifests, strict=True))


def folders_of(plans: Sequence[Plan], out: str) -> list[str]:
    """Where each plan's model goes: `out` itself, or a folder of it for each of several α."""
    if len(plans) == 1:
        return [out]
    return [f"{out.rstrip('/')}/alpha-{plain_alpha(plan.recipe.alpha)}" for plan in plans]


def place_of(text: str) -> str:
    """An absolute path, or the address as it is."""
    return text if "://" in text else str(Path(text).expanduser().resolve())


def plain_alpha(alpha: float) -> str:
    """α as folders and messages have it: 2, not 2.0."""
    return str(float(alpha)).removesuffix(".0")
