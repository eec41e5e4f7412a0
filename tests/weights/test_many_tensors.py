"""A plan of twenty thousand tensors takes seconds, and a refusal fits on one screen."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import MismatchError
from tasks.stores.folder_source import FolderSource
from tasks.weights.headers import ITEM_BYTES, build_header
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import recipe

Entries = dict[str, tuple[str, tuple[int, ...]]]


def many(layers: int = 48, experts: int = 128) -> Entries:
    """The names of Qwen3-30B-A3B, each with one element, so that only the planning takes time."""
    single = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate")
    parts = [f"mlp.experts.{expert}.{part}" for expert in range(experts) for part in ("gate", "up", "down")]
    return {
        f"model.layers.{layer}.{name}.weight": ("BF16", (1,))
        for layer in range(layers)
        for name in (*single, *parts)
    }


def skeleton(folder: Path, entries: Entries) -> FolderSource:
    """A checkpoint of zeros with this header."""
    folder.mkdir(parents=True)
    size = sum(math.prod(shape) * ITEM_BYTES[dtype] for dtype, shape in entries.values())
    header = build_header((name, dtype, shape) for name, (dtype, shape) in entries.items())
    (folder / "model.safetensors").write_bytes(header + bytes(size))
    (folder / "config.json").write_text("{}")
    return FolderSource(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: {f"x{number}": entry for number, entry in enumerate(entries.values())},
        lambda entries: {f"{name}.prefixed": entry for name, entry in entries.items()},
        lambda entries: dict.fromkeys(entries, ("F64", (1,))),
        lambda entries: {name: ("BF16", (number % 50 + 2,)) for number, name in enumerate(entries)},
    ],
    ids=["other names", "another ending", "other dtype", "other shapes"],
)
def test_twenty_thousand_tensors_that_do_not_fit(
    tmp_path: Path, change: Callable[[Entries], Entries]
) -> None:
    """Measured in CPU time, since machines are busy: a quadratic pairing took 66 s and more."""
    entries = many()
    assert len(entries) > 18_000
    aligned, sft = skeleton(tmp_path / "aligned", entries), skeleton(tmp_path / "sft", change(entries))
    begin = time.process_time()
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(aligned, sft), aligned, sft)
    assert time.process_time() - begin < 10
    assert len(str(caught.value).splitlines()) <= 20


@pytest.mark.slow
def test_a_hundred_thousand_tensors_on_one_side(tmp_path: Path) -> None:
    entries = many(layers=260)
    assert len(entries) > 100_000
    aligned = skeleton(tmp_path / "aligned", entries)
    sft = skeleton(tmp_path / "sft", dict(list(entries.items())[:1]))
    begin = time.process_time()
    with pytest.raises(MismatchError) as caught:
        make_plan(recipe(aligned, sft), aligned, sft)
    assert time.process_time() - begin < 30
    assert len(str(caught.value).splitlines()) <= 20


@pytest.mark.parametrize("prefix", ["", pytest.param("module.", marks=pytest.mark.slow)])
def test_twenty_thousand_tensors_that_fit(tmp_path: Path, prefix: str) -> None:
    """Also where a wrapper's prefix is taken off every name."""
    entries = many()
    aligned = skeleton(tmp_path / "aligned", entries)
    sft = skeleton(tmp_path / "sft", {prefix + name: entry for name, entry in entries.items()})
    begin = time.process_time()
    plan = make_plan(recipe(aligned, sft), aligned, sft)
    assert time.process_time() - begin < 10
    assert plan.parameters == len(entries) and not plan.skipped
