"""Prompts: the right tokens, and a clear refusal where they cannot be right."""

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import InputError, PermanentError
from tasks.generation.prompts import render, render_prompts, require_room
from tasks.generation.settings import GenerationSettings


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:  # noqa: ANN401
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def bare(tiny_llama: Path) -> Any:  # noqa: ANN401
    """The tokenizer of a checkpoint that brings no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = None
    return tokenizer


def test_single_user_turn_with_generation_prompt(tokenizer: Any) -> None:  # noqa: ANN401
    prompts = render_prompts(tokenizer, ["Hi </s>there"], GenerationSettings())
    assert tokenizer.decode(prompts.token_ids[0]) == "<s><|user|>\nHi </s>there</s>\n<|assistant|>\n"


def test_second_turn_shows_the_first_answer(tokenizer: Any) -> None:  # noqa: ANN401
    ids = render(tokenizer, tokenizer.chat_template, ("Hi", "Ho", "More"))
    assert tokenizer.decode(ids) == (
        "<s><|user|>\nHi</s>\n<|assistant|>\nHo</s>\n<|user|>\nMore</s>\n<|assistant|>\n"
    )


def test_own_template_comes_first(tokenizer: Any) -> None:  # noqa: ANN401
    prompts = render_prompts(tokenizer, ["Hi"], GenerationSettings(chat_template="{{ 'other' }}"))
    assert prompts.template == tokenizer.chat_template


def test_given_template_serves_a_checkpoint_without(bare: Any) -> None:  # noqa: ANN401
    """As tulu-2: the last newline matters (Jinja drops a literal one at a template's end, so it
    has to come from an expression), and no BOS may appear that the template does not write."""
    template = "{{ '<|user|>\n' + messages[0].content + '\n<|assistant|>\n' }}"
    settings = GenerationSettings(chat_template=template)
    prompts = render_prompts(bare, ["Hi"], settings)
    assert bare.decode(prompts.token_ids[0]) == "<|user|>\nHi\n<|assistant|>\n"
    assert prompts.template == settings.chat_template


def test_double_bos_is_an_error(bare: Any) -> None:  # noqa: ANN401
    settings = GenerationSettings(chat_template="{{ bos_token }}{{ bos_token }}{{ messages[0].content }}")
    with pytest.raises(PermanentError, match="two BOS"):
        render_prompts(bare, ["Hi"], settings)


def test_stop_tokens_are_found_by_their_strings(tokenizer: Any) -> None:  # noqa: ANN401
    settings = GenerationSettings(stop_tokens=("</s>", "<|user|>"))
    assert render_prompts(tokenizer, ["Hi"], settings).stop_token_ids == (1, 2)


def test_missing_stop_token_is_an_error(tokenizer: Any) -> None:  # noqa: ANN401
    settings = GenerationSettings(stop_tokens=("</s>", "<|eot_id|>"))
    with pytest.raises(InputError, match=r"lacks the stop tokens <\|eot_id\|>.*stop_tokens"):
        render_prompts(tokenizer, ["Hi"], settings)


def test_failing_template_is_an_error(bare: Any) -> None:  # noqa: ANN401
    settings = GenerationSettings(chat_template="{{ raise_exception('a system turn, please') }}")
    with pytest.raises(InputError, match="a system turn, please"):
        render_prompts(bare, ["Hi"], settings)


def test_too_long_prompt_names_the_instruction() -> None:
    require_room(((1,) * 9, (1,) * 9), max_model_len=10)
    with pytest.raises(InputError, match=r"instruction 1: .* 10 tokens.*max_model_len"):
        require_room(((1,) * 9, (1,) * 10), max_model_len=10)


def test_a_template_without_an_end_is_refused(
    tokenizer: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.generation.prompts.RENDER_SECONDS", 0.2)
    loops = "{% for a in range(99999) %}" * 4 + "x" + "{% endfor %}" * 4
    with pytest.raises(InputError, match=r"computes for more than 0\.2 s"):
        render(tokenizer, loops, ("Hi",))
    assert render(tokenizer, "{{ messages[0].content }}", ("Hi",))
