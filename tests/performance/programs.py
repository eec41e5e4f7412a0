"""What the extrapolation is measured against: each writes the model of two checkpoints in its own way.

    python -m tests.performance.programs floor ALIGNED SFT ALPHA OUT       the streaming without arithmetic
    python -m tests.performance.programs authors ALIGNED SFT ALPHA OUT     both models whole, in bf16
    python -m tests.performance.programs safe-open ALIGNED SFT ALPHA OUT   tensor by tensor, a shard in memory

The authors' program follows arXiv 2404.16792's repository: transformers loads both
models, every parameter becomes θ_1 + α · (θ_1 − θ_0) in bf16, transformers saves.
"""

import json
import mmap
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.weights.inputs import Inputs
    from tasks.weights.jobs import ShardJob

__all__ = ["authors", "floor", "safe_open_loop"]


def floor(aligned: Path, sft: Path, alpha: float, out: Path) -> None:
    """Reads both checkpoints and writes the aligned one: what disk and page cache take by themselves."""
    from tasks.stores.folder_source import FolderSource
    from tasks.weights.inputs import Inputs
    from tasks.weights.planner import make_plan
    from tasks.weights.recipe import Recipe

    aligned_source, sft_source = FolderSource(aligned), FolderSource(sft)
    plan = make_plan(
        Recipe(aligned=aligned_source.checkpoint, sft=sft_source.checkpoint, alpha=alpha),
        aligned_source,
        sft_source,
    )
    for job in plan.shards:
        with Inputs(aligned_source, job.aligned_files) as new, Inputs(sft_source, job.sft_files) as old:
            _copy_shard(job, new, old, out / job.file)
    for name in plan.side_files:
        shutil.copyfile(aligned / name, out / name)


def _copy_shard(job: "ShardJob", new: "Inputs", old: "Inputs", target: Path) -> None:
    from tasks.weights.headers import ITEM_BYTES
    from tasks.weights.jobs import shard_header
    from tasks.weights.part_file import PartFile
    from tasks.weights.pass_options import THREADS
    from tasks.weights.shard_writer import SLOT_BYTES
    from tasks.weights.slots import cut_shard

    slots, pieces = iter(range(-(-job.bytes // SLOT_BYTES))), cut_shard(job, SLOT_BYTES)
    header = shard_header(job.tensors)

    def work(file: PartFile) -> None:
        made, read = memoryview(mmap.mmap(-1, SLOT_BYTES)), memoryview(mmap.mmap(-1, SLOT_BYTES))
        for slot in slots:
            start = slot * SLOT_BYTES
            head = header[start : start + SLOT_BYTES]
            made[: len(head)] = head
            for piece in pieces.get(slot, []):
                tensor = job.tensors[piece.tensor]
                assert tensor.aligned is not None and tensor.sft is not None
                size, skip = piece.elements * ITEM_BYTES[tensor.dtype], piece.first * ITEM_BYTES[tensor.dtype]
                place = made[piece.position : piece.position + size]
                new.read_into(place, tensor.aligned.file, tensor.aligned.offset + skip)
                old.read_into(read[:size], tensor.sft.file, tensor.sft.offset + skip)
            file.write(made[: min(SLOT_BYTES, job.bytes - start)], start)

    with PartFile(target, job.bytes) as file, ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(work, file) for _ in range(THREADS)]:
            future.result()
        file.finish()


def authors(aligned: Path, sft: Path, alpha: float, out: Path) -> None:
    """Both models whole in bf16, arithmetic in bf16."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        new = AutoModelForCausalLM.from_pretrained(aligned, dtype=torch.bfloat16)
        old = AutoModelForCausalLM.from_pretrained(sft, dtype=torch.bfloat16)
        before = dict(old.named_parameters())
        for name, parameter in new.named_parameters():
            parameter.data = parameter.data + alpha * (parameter.data - before[name].data)
        new.save_pretrained(out, max_shard_size="1GB")


def safe_open_loop(aligned: Path, sft: Path, alpha: float, out: Path) -> None:
    """What one writes first: every tensor by name, fp32 arithmetic, one shard at a time in memory."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    index = "model.safetensors.index.json"
    places = json.loads((sft / index).read_text())["weight_map"]
    old = {file: safe_open(sft / file, "pt") for file in set(places.values())}
    for file in sorted(set(json.loads((aligned / index).read_text())["weight_map"].values())):
        with safe_open(aligned / file, "pt") as new:
            tensors = {
                name: torch.lerp(new.get_tensor(name), old[places[name]].get_tensor(name), -alpha)  # type: ignore[no-untyped-call]
                for name in new.keys()  # noqa: SIM118 - not a mapping
            }
        save_file(tensors, out / file, {"format": "pt"})
    shutil.copyfile(aligned / index, out / index)
    shutil.copyfile(aligned / "config.json", out / "config.json")


PROGRAMS: dict[str, Callable[[Path, Path, float, Path], None]] = {
    "floor": floor,
    "authors": authors,
    "safe-open": safe_open_loop,
}

if __name__ == "__main__":
    which, aligned, sft, number, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    PROGRAMS[which](Path(aligned), Path(sft), float(number), Path(folder))
