"""A served judge that thinks gets vLLM's parser where its checkpoint tells, and none where it does not."""

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.reasoning import PARSERS, reasoning_parser
from tasks.benchmarks.serving import _arguments
from tasks.stores.folder_source import FolderSource
from tests.parts import lacks

PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
THINKS = PLAIN + "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
STRIPS = PLAIN + "{% set content = content.split('</think>')[-1] %}<think>"


def checkpoint(folder: Path, kind: str, template: Any, file: str = "tokenizer_config.json") -> FolderSource:  # noqa: ANN401
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "hidden_size": 8}))
    text = template if file.endswith(".jinja") else json.dumps({"chat_template": template})
    (folder / file).write_text(text)
    return FolderSource(folder)


@pytest.mark.parametrize(
    ("kind", "template", "parser"),
    [
        ("qwen3", STRIPS, "qwen3"),
        ("qwen3_moe", PLAIN, None),
        ("qwen2", THINKS, "deepseek_r1"),
        ("llama", THINKS, "deepseek_r1"),
        ("llama", STRIPS, None),
        ("llama", PLAIN, None),
        ("mistral", THINKS, None),
        ("deepseek_v3", THINKS, "deepseek_r1"),
        ("deepseek_v3", "{% if thinking %}<think>{% endif %}", "deepseek_v3"),
        ("seed_oss", THINKS, None),
        ("seed_oss", "<seed:think>", "seed_oss"),
        ("glm4_moe", [{"name": "default", "template": STRIPS}], "glm45"),
    ],
)
def test_the_parser_is_the_checkpoints(kind: str, template: Any, parser: str | None, tmp_path: Path) -> None:  # noqa: ANN401
    source = checkpoint(tmp_path, kind, template)
    serve = ServeConfig(checkpoint=str(tmp_path))
    assert reasoning_parser(None, source) == parser
    arguments = _arguments(serve, tmp_path, "judge", 8000, parser)
    assert (f"--reasoning-parser={parser}" in arguments) == (parser is not None)
    identity = Judge(model="judge", serve=serve).identity()["where"]
    assert identity.endswith(f" with {parser}") == (parser is not None)


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, "qwen3", STRIPS, "chat_template.jinja")
    for said, parser in {None: "qwen3", "none": None, "olmo3": "olmo3"}.items():
        assert reasoning_parser(said, source) == parser


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"chat_template": 3}'])
def test_files_that_are_none_tell_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    (tmp_path / "tokenizer_config.json").write_text(content)
    assert reasoning_parser(None, FolderSource(tmp_path)) is None


def test_every_parser_is_in_vllms_own_table() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        lacks("vllm", "vLLM is not installed here")
    module = ast.parse((Path(spec.origin).parent / "reasoning/__init__.py").read_text())
    tables = [
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    names = {key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    assert {*PARSERS.values(), "deepseek_v3"} <= names
