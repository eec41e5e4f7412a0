"""A tiny random Llama with a byte-level tokenizer and a chat template; a job for an endpoint."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.generation import endpoint as module
from tasks.generation import forked
from tasks.generation.settings import Endpoint, GenerationJob, GenerationSettings, Sampling
from tests.servers.judge import JudgeServer

COUNT = 6  # questions of the job for an endpoint
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def make_tiny_llama(folder: Path, *, template: str | None = TEMPLATE) -> Path:
    """Two layers, hidden 32, about 270 byte tokens, random weights, a few hundred kB."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    specials = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(specials + alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(specials)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(specials + alphabet),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,  # a head dimension of 32 is the least that vLLM has on a CPU
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def light_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Engines are forks of a process that has imported no vLLM and finds the tests' modules."""
    monkeypatch.setattr(forked, "_servers", [])
    monkeypatch.setattr(forked, "SERVER", "tests.generation.light_fork_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    yield
    while forked._servers:
        forked._servers.pop().close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    """It answers with the last thing said and its seed; the client does not try again."""
    monkeypatch.setattr(module, "TRIES", 0)
    with JudgeServer() as server:
        server.says = lambda body: f" {body['messages'][-1]['content']} {body['seed']}"
        yield server


@pytest.fixture
def job(server: JudgeServer, tmp_path: Path) -> GenerationJob:
    questions = tmp_path / "question.jsonl"
    rows = [{"question_id": n, "category": "math", "turns": [f"Q{n}", f"R{n}"]} for n in range(COUNT)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GenerationJob(
        model="the arm",
        instructions=str(questions),
        output=str(tmp_path / "output"),
        settings=GenerationSettings(
            sampling=Sampling(seed=100),
            category_temperatures={"math": 0.0},
            stop_tokens=("<|x|>",),
            batch_size=4,
        ),
        generator="served",
        benchmark="mt_bench",
        form="dialogues",
        endpoint=Endpoint(base_url=server.url, model="tiny"),
    )
