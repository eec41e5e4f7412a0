"""The command `expo verify`: is a model still what its manifest says? It loads neither Prefect nor vLLM."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.core.errors import CorruptError

__all__ = ["verify"]


def verify(
    model: Annotated[
        str, typer.Argument(help="An extrapolated model: a folder, s3://… or hub id[@revision].")
    ],
    tensors: Annotated[int, typer.Option(min=0, help="How many tensors to compute again.")] = 16,
    every: Annotated[bool, typer.Option("--all", help="Compute every tensor again.")] = False,
    files_only: Annotated[bool, typer.Option(help="Only hash the files, without the parents.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the sample; default: another each time.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUB", help="The model has to be signed by the private half of this key (PEM)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of sentences.")] = False,
) -> None:
    """Hashes a model's files, holds them against the parents, and computes tensors again.

    Computed again are the first and last tensor of each shard, and others drawn at random.
    """
    from flows.library.pair_models import verify as verify_model
    from tasks.weights.signature import check_public_key

    found = verify_model(
        model,
        tensors=None if every else tensors,
        files_only=files_only,
        seed=seed,
        public_key=check_public_key(key) if key else None,
    )
    if as_json:
        print(found.model_dump_json(indent=1))
    for difference in () if as_json else found.differences:
        print(f"{difference.kind}: {difference.file}: {difference.message}")
    if found.differences:
        kinds = ", ".join(dict.fromkeys(difference.kind for difference in found.differences))
        raise CorruptError(f"{model}: not what its manifest says, see above ({kinds})")
    if as_json:
        return
    computed = f"{len(found.tensors)} tensors (computed again by numpy)"
    print(f"{model}: {found.files} files and {computed} are as they should be")
    if key:
        print(f"signed by the private half of {key}")
    if found.seed is not None:
        print(f"the sample is of --seed {found.seed}")
    for part in found.unchecked:
        print(f"not checked: {part}")
