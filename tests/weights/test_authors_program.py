"""`--arithmetic parity` against the authors' own program."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks.stores.artefact import Artefact
from tasks.stores.folder_source import FolderSource
from tasks.weights.extrapolation import extrapolate
from tasks.weights.planner import make_plan
from tests.weights.checkpoints import read_tensors, recipe
from tests.weights.models import save_llama

AUTHORS = """
import sys, torch
from transformers import AutoModelForCausalLM
for alpha in sys.argv[4:]:
    sft = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
    dpo = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.bfloat16)
    old = sft.state_dict()
    for name, weights in dpo.named_parameters():
        weights.data = weights.data + float(alpha) * (weights.data - old[name].data)
    dpo.save_pretrained(f"{sys.argv[3]}-{alpha}")
"""


@pytest.mark.slow
def test_parity_is_what_the_authors_program_writes(tmp_path: Path) -> None:
    """Bit for bit, on a real Llama of fp16 and fp32, tied embeddings included."""
    save_llama(tmp_path / "aligned", seed=1, dtype=torch.float16)
    save_llama(tmp_path / "sft", seed=2, dtype=torch.float32)
    aligned, sft = FolderSource(tmp_path / "aligned"), FolderSource(tmp_path / "sft")
    alphas = (0.3, 0.5, 8.0)
    folders = [tmp_path / "sft", tmp_path / "aligned", tmp_path / "authors"]
    authors = [sys.executable, "-c", AUTHORS, *map(str, folders), *map(str, alphas)]
    subprocess.run(authors, check=True, capture_output=True)
    for alpha in alphas:
        plan = make_plan(recipe(aligned, sft, alpha=alpha, arithmetic="parity"), aligned, sft)
        extrapolate(plan, aligned, sft, Artefact(str(tmp_path / f"project-{alpha}")))
        found, expected = (read_tensors(tmp_path / f"{whose}-{alpha}") for whose in ("project", "authors"))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
