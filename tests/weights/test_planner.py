"""What fits and what does not, said before any work; and how the output is laid out."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.core.errors import MismatchError
from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.jobs import Plan
from tasks.weights.planner import make_plan
from tasks.weights.recipe import ModuleAlpha
from tests.weights.checkpoints import Tensors, read_tensors, recipe, write_checkpoint, write_pickles


def tensors(*names: str, rows: int = 4) -> dict[str, Tensor]:
    return {name: torch.randn(rows, 3).bfloat16() for name in names}


def plan_of(folder: Path, new: Tensors, old: Tensors, **settings: object) -> Plan:
    aligned, sft = write_checkpoint(folder / "aligned", new), write_checkpoint(folder / "sft", old)
    return make_plan(recipe(aligned, sft, **settings), aligned, sft)


def run(plan: Plan, folder: Path) -> dict[str, Tensor]:
    """The extrapolated tensors of a plan."""
    aligned, sft = (
        FolderSource(Path(checkpoint.uri)) for checkpoint in (plan.recipe.aligned, plan.recipe.sft)
    )
    extrapolate(plan, aligned, sft, Artefact(str(folder / "out")))
    return read_tensors(folder / "out")


def test_every_mismatch_is_named_at_once(tmp_path: Path) -> None:
    new = tensors("same", "mine", "shape", "quantized")
    old = tensors("same", "theirs", "quantized") | {"shape": torch.ones(5, 3)}
    new["quantized"] = torch.ones(4, 3, dtype=torch.int8)
    with pytest.raises(MismatchError) as caught:
        plan_of(tmp_path, new, old)
    message = str(caught.value)
    assert "mine: only in the aligned checkpoint" in message
    assert "theirs: only in the SFT checkpoint" in message
    assert "shape: shape [4, 3], on the SFT side [5, 3]" in message
    assert "quantized: I8 and BF16" in message
    assert "same" not in message


def test_buffers_of_one_side(tmp_path: Path) -> None:
    """Old rotary buffers: left out when the SFT side alone has them, kept as they are when the other has."""
    buffer = {"layers.0.self_attn.rotary_emb.inv_freq": torch.rand(8)}
    plan = plan_of(tmp_path / "one", tensors("a"), tensors("a") | buffer)
    assert plan.skipped == tuple(buffer)
    new, old = tensors("a") | buffer, tensors("a")
    found = run(plan_of(tmp_path / "two", new, old, output_dtype="float32"), tmp_path / "two")
    assert torch.equal(found[next(iter(buffer))], *buffer.values())


def test_integer_buffer_is_copied(tmp_path: Path) -> None:
    ids = {"embeddings.position_ids": torch.arange(7)}
    found = run(plan_of(tmp_path, tensors("a") | ids, tensors("a")), tmp_path)
    assert torch.equal(found["embeddings.position_ids"], torch.arange(7))


EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def test_tied_weights_stored_twice_on_the_aligned_side(tmp_path: Path) -> None:
    """A `.bin` names one storage twice; the SFT side has it once."""
    new, old = tensors(EMBEDDING, "a"), tensors(EMBEDDING, "a")
    aligned = write_pickles(tmp_path / "aligned", new | {HEAD: new[EMBEDDING]})
    sft = write_checkpoint(tmp_path / "sft", old)
    found = run(make_plan(recipe(aligned, sft), aligned, sft), tmp_path)
    assert torch.equal(found[HEAD], found[EMBEDDING])
    assert torch.equal(found[EMBEDDING], torch.lerp(new[EMBEDDING], old[EMBEDDING], -0.3))


def test_tied_weights_stored_twice_on_the_sft_side(tmp_path: Path) -> None:
    new, old = tensors(EMBEDDING, "a"), tensors(EMBEDDING, "a")
    aligned = write_checkpoint(tmp_path / "aligned", new)
    sft = write_pickles(tmp_path / "sft", old | {HEAD: old[EMBEDDING]})
    assert make_plan(recipe(aligned, sft), aligned, sft).skipped == (HEAD,)


@pytest.mark.parametrize("config", ["", "[]", "[" * 100_000, "7"])
def test_config_that_cannot_be_read(tmp_path: Path, config: str) -> None:
    """Nothing says that the head is tied, so it is not."""
    write_checkpoint(tmp_path / "sft", tensors(EMBEDDING))
    (tmp_path / "sft" / "config.json").write_text(config)
    aligned = write_checkpoint(tmp_path / "aligned", tensors(EMBEDDING, HEAD))
    sft = FolderSource(tmp_path / "sft")
    with pytest.raises(MismatchError, match=f"{HEAD}: only in the aligned checkpoint"):
        make_plan(recipe(aligned, sft), aligned, sft)


def test_untied_head_of_one_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=f"{HEAD}: only in the SFT checkpoint"):
        plan_of(tmp_path / "one", tensors(EMBEDDING), tensors(EMBEDDING, HEAD))
    with pytest.raises(MismatchError, match=f"{HEAD}: only in the aligned checkpoint"):
        plan_of(tmp_path / "two", tensors(EMBEDDING, HEAD), tensors(EMBEDDING))


def test_head_tied_by_the_config(tmp_path: Path) -> None:
    """The SFT side's config ties its head: its embedding stands for it."""
    new, old = tensors(EMBEDDING, HEAD), tensors(EMBEDDING)
    write_checkpoint(tmp_path / "sft", old)
    (tmp_path / "sft" / "config.json").write_text('{"tie_word_embeddings": true}')
    aligned, sft = write_checkpoint(tmp_path / "aligned", new), FolderSource(tmp_path / "sft")
    found = run(make_plan(recipe(aligned, sft), aligned, sft), tmp_path)
    assert torch.equal(found[HEAD], torch.lerp(new[HEAD], old[EMBEDDING], -0.3))


def test_module_alphas(tmp_path: Path) -> None:
    """The first pattern that matches decides; the others keep the recipe's α."""
    names = [f"layers.{n}.{part}" for n in range(2) for part in ("self_attn.q", "mlp.up")]
    new, old = tensors(*names), tensors(*names)
    alphas = [{"pattern": r"layers\.0\.", "alpha": 0.0}, {"pattern": "mlp", "alpha": 2.0}]
    plan = plan_of(tmp_path, new, old, module_alphas=alphas)
    found = run(plan, tmp_path)
    for name, alpha in zip(names, (0.0, 0.0, 0.3, 2.0), strict=True):
        assert torch.equal(found[name], torch.lerp(new[name], old[name], -alpha)), name
    plain = plan.recipe.model_copy(update={"module_alphas": ()})
    assert plain.fingerprint != plan.recipe.fingerprint


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (ModuleAlpha(pattern="attn", alpha=1.0), "'attn' matches no tensor such as layers"),
        (ModuleAlpha(pattern="(", alpha=1.0), "no regular expression"),
        (ModuleAlpha(pattern="up", layers=(2, 9), alpha=1.0), "'up' in layers 2 to 9 matches no tensor"),
        (ModuleAlpha(pattern="up", layers=(1, 0), alpha=1.0), "'up' in layers 1 to 0 matches no tensor"),
    ],
)
def test_module_alpha_that_cannot_be_meant(tmp_path: Path, module: ModuleAlpha, match: str) -> None:
    both = tensors("layers.0.mlp.up", "layers.1.mlp.up")
    with pytest.raises(MismatchError, match=match):
        plan_of(tmp_path, both, both, module_alphas=(module,))


def test_parity_writes_bf16_only(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="writes bfloat16, not float32"):
        plan_of(tmp_path, tensors("a"), tensors("a"), arithmetic="parity", output_dtype="float32")


def test_shards_of_a_given_size(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tensors(*"abcde"), tensors(*"abcde"), shard_bytes=50)
    assert [shard.file for shard in plan.shards] == [
        f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)
    ]
    assert [len(shard.tensors) for shard in plan.shards] == [2, 2, 1]


def test_pickles_make_safetensors(tmp_path: Path) -> None:
    """Shards named after `.bin` files would not be found by anyone."""
    new, old = tensors("a", "b"), tensors("a", "b")
    aligned, sft = write_pickles(tmp_path / "aligned", new, [1]), write_pickles(tmp_path / "sft", old)
    plan = make_plan(recipe(aligned, sft), aligned, sft)
    assert [shard.file for shard in plan.shards] == ["model.safetensors"]
    assert torch.equal(run(plan, tmp_path)["b"], torch.lerp(new["b"], old["b"], -0.3))


def tokenizer(folder: Path, vocabulary: object, added: object = ()) -> None:
    content = {"model": {"vocab": vocabulary}, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def vocabulary_pair(folder: Path) -> tuple[Tensors, Tensors, FolderSource, FolderSource]:
    new, old = tensors(EMBEDDING, HEAD, rows=6) | tensors("a"), tensors(EMBEDDING, HEAD, "a")
    return new, old, write_checkpoint(folder / "aligned", new), write_checkpoint(folder / "sft", old)


def test_vocabularies_that_differ_are_refused(tmp_path: Path) -> None:
    _, _, aligned, sft = vocabulary_pair(tmp_path)
    with pytest.raises(
        MismatchError, match=r"shape \[6, 3\], on the SFT side \[4, 3\]; --vocabulary common-rows"
    ):
        make_plan(recipe(aligned, sft), aligned, sft)


def test_common_rows_by_position(tmp_path: Path) -> None:
    new, old, aligned, sft = vocabulary_pair(tmp_path)
    found = run(make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft), tmp_path)
    for name in (EMBEDDING, HEAD):
        assert torch.equal(found[name][:4], torch.lerp(new[name][:4], old[name], -0.3))
        assert torch.equal(found[name][4:], new[name][4:])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[" * 100_000,
        '{"model": {"vocab": 7}}',
        '{"model": {"vocab": {"a": "0"}}}',
        '{"model": {"vocab": {"a": []}}}',
        '{"model": {"vocab": [[["a"], 0.0]]}}',
        '{"model": {"vocab": {}}, "added_tokens": [{"id": null, "content": "a"}]}',
    ],
)
def test_tokenizer_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    """Rows go by position, as without a tokenizer."""
    new, old, _, _ = vocabulary_pair(tmp_path)
    tokenizer(tmp_path / "aligned", {"b": 0, "a": 1})
    (tmp_path / "sft" / "tokenizer.json").write_text(content)
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    found = run(make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft), tmp_path)
    assert torch.equal(found[HEAD][:4], torch.lerp(new[HEAD][:4], old[HEAD], -0.3))


def test_common_rows_by_token(tmp_path: Path) -> None:
    """The aligned side put a token in between and moved another: rows follow their tokens."""
    new, old, _, _ = vocabulary_pair(tmp_path)
    tokenizer(tmp_path / "aligned", {"a": 0, "new": 1, "b": 2, "c": 3, "<s>": 4})
    tokenizer(tmp_path / "sft", [["<s>", 0.0], ["a", -1.0], ["b", -2.0]], [{"id": 3, "content": "c"}])
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    found = run(make_plan(recipe(aligned, sft, vocabulary="common-rows"), aligned, sft), tmp_path)
    for row, sft_row in {0: 1, 2: 2, 3: 3, 4: 0}.items():
        assert torch.equal(found[HEAD][row], torch.lerp(new[HEAD][row], old[HEAD][sft_row], -0.3))
    for row in (1, 5):
        assert torch.equal(found[HEAD][row], new[HEAD][row])
