"""Folders without weights that can be read, and what to do about each kind."""

import re
from collections.abc import Sequence
from pathlib import Path

from tasks.core.errors import CorruptError
from tasks.stores.folder_source import FolderSource
from tasks.stores.source import Source

__all__ = ["check_no_pointer", "unread_weights", "why_no_weights"]

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_POINTER_BYTES = 1024
_OTHER_WEIGHTS = re.compile(
    r"(consolidated.*\.(safetensors|pth)|.*\.(gguf|pt|pth|ckpt|h5|msgpack|onnx)|.*\.safetensors|pytorch_model.*\.bin)$"
)
LISTED = 8

# What a file of the folder says about how the weights are kept: pattern, kind, what to do.
_KINDS = (
    (r"adapter_config\.json", "a LoRA adapter without its weights", "fetch adapter_model.safetensors too"),
    (
        r"(latest|zero_to_fp32\.py|mp_rank_.*|zero_pp_rank_.*|global_step\d+)",
        "a DeepSpeed checkpoint: every rank's part",
        "run `python zero_to_fp32.py . OUT --safe_serialization` in it, and give OUT with its config.json",
    ),
    (
        r"(pytorch_model_fsdp_\d+|__\d+_\d+\.distcp|.*\.distcp|\.metadata)",
        "an FSDP checkpoint: every rank's part",
        "run `accelerate merge-weights FOLDER OUT`, and give OUT with its config.json",
    ),
    (
        r"model_world_size_\d+_rank_\d+\.pt",
        "a verl checkpoint: every rank's part",
        "run `python -m verl.model_merger merge --backend fsdp --local_dir FOLDER --target_dir OUT`",
    ),
    (
        r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)",
        "shards without their index",
        "fetch the index (model.safetensors.index.json) beside them",
    ),
    (
        r"consolidated.*\.(safetensors|pth)|params\.json|original",
        "the model in its authors' own format (consolidated.*)",
        "use the Hugging Face form of it: config.json with model.safetensors or shards",
    ),
    (r".*\.gguf", "a GGUF file: quantized, or another format", "use the checkpoint that it was made of"),
    (
        r".*\.(pt|pth|ckpt)",
        "weights saved by torch.save under another name",
        "load them once and save_pretrained(..., safe_serialization=True)",
    ),
)


def why_no_weights(source: Source) -> str:
    """What a folder without model.safetensors, index or `.bin` is, and the next step."""
    names = [*source.files(), *_folders(source)]
    if any(name == "snapshots" for name in names):
        return "a repository's folder in the Hub's cache; give the snapshot inside it (snapshots/<commit>)"
    for pattern, kind, step in _KINDS:
        if any(re.fullmatch(pattern, name) for name in names):
            return f"it holds {_listed(names)}: {kind}; {step}"
    return (
        "no model.safetensors or model.safetensors.index.json in it, nor pytorch_model.bin; "
        f"it holds {_listed(names)}"
    )


def check_no_pointer(source: Source, file: str) -> None:
    """Refuses what a clone without LFS leaves in the place of a file.

    Raises:
        CorruptError: it is a pointer.
    """
    if source.files()[file].size > LFS_POINTER_BYTES:  # not worth a request
        return
    if source.read(file, 0, len(LFS_POINTER)) == LFS_POINTER:
        raise CorruptError(
            f"{file}: a Git LFS pointer, so no safetensors file; run `git lfs pull` in the clone"
        )


def unread_weights(names: Sequence[str]) -> tuple[str, ...]:
    """A sentence that names the weight files which are not read; empty where there are none."""
    found = [name for name in names if _OTHER_WEIGHTS.match(name)]
    return (f"not read: {_listed(found)}",) if found else ()


def _folders(source: Source) -> list[str]:
    """Names of the folders inside a folder of this machine; elsewhere they are not listed."""
    if not isinstance(source, FolderSource):
        return []
    return sorted(entry.name for entry in Path(source.folder()).iterdir() if entry.is_dir())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) or "nothing") + more
