"""A short training: the same bytes again, files that transformers reads, nothing else touched."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.demo.checkpoints import DemoFamily
from tasks.demo.training import Training, train
from tasks.stores.disk import sha256_of


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path) for path in files}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_a_second_training_gives_the_same_bytes_and_leaves_torch_alone(
    family: DemoFamily, short: Training, tmp_path: Path
) -> None:
    torch.rand(7)  # another state of the generator than the first training met
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(tmp_path, short, advance=lambda *_: None)
    for name in ("sft", "aligned"):
        assert digests(tmp_path / name) == digests(family.sft.parent / name)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_the_pair_differs_in_its_weights_alone(family: DemoFamily) -> None:
    """Extrapolation needs the same tensors in both, and takes the side files from the aligned one."""
    sft, aligned = digests(family.sft), digests(family.aligned)
    changed = {name for name in sft | aligned if sft.get(name) != aligned.get(name)}
    assert len(changed) >= 3
    assert all(name.endswith(".safetensors") for name in changed)
    before, after = weights(family.sft), weights(family.aligned)
    assert before.keys() == after.keys()
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}


def test_transformers_loads_it_with_its_tokenizer_and_template(family: DemoFamily) -> None:
    model = AutoModelForCausalLM.from_pretrained(family.aligned)
    tokenizer = AutoTokenizer.from_pretrained(family.aligned)
    turn = [{"role": "user", "content": "Write a note to Zoë."}]
    prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    assert prompt == "<s><|user|>\nWrite a note to Zoë.</s>\n<|assistant|>\n"
    tokens = tokenizer.encode(prompt)
    assert tokenizer.decode(tokens) == prompt
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokens[-4]
    assert sum(weight.numel() for weight in model.parameters()) < 5_000_000


def test_references_are_the_sft_models_answers_in_alpaca_evals_form(family: DemoFamily) -> None:
    rows = [json.loads(path.read_text()) for path in (family.instructions, family.alphas)]
    assert [len(part) for part in rows] == [6, 4]
    for row in rows[0] + rows[1]:
        assert row.keys() == {"instruction", "output", "generator", "dataset"}
        assert row["generator"] == "demo-sft"
    assert not {row["instruction"] for row in rows[0]} & {row["instruction"] for row in rows[1]}
