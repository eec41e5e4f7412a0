"""A checkpoint's code comes from its own folder, or it is refused."""

import json
from pathlib import Path

import pytest

from tasks.core.errors import InputError
from tasks.generation.remote_code import require_own_code

OWN = {"auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config", "AutoTokenizer": [None, "t.T"]}}


def test_own_code_and_none(tmp_path: Path) -> None:
    require_own_code(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(OWN))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    require_own_code(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "org/other--code.Config"}}, r"org/other--code\.Config"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["org/x--a.T", None]}}, "no commit pins"),
        ("tokenizer_config.json", {"auto_map": ["org/x--a.T", None]}, "org/x--a"),
    ],
)
def test_code_of_another_repository(tmp_path: Path, name: str, content: object, message: str) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        require_own_code(tmp_path)
