"""Prompts: chats rendered through a chat template into token ids."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from tasks.core.errors import InputError, PermanentError
from tasks.core.values import Value
from tasks.generation.settings import GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptSet", "render", "render_prompts", "require_room"]

RENDER_SECONDS = 60.0  # of computing, for one chat


class PromptSet(Value):
    """Token ids of each prompt, in the order of the instructions, the template that made them, and
    the ids of the settings' stop tokens."""

    template: str
    token_ids: tuple[tuple[int, ...], ...]
    stop_token_ids: tuple[int, ...] = ()


def render_prompts(
    tokenizer: "PreTrainedTokenizerBase", instructions: Sequence[str], settings: GenerationSettings
) -> PromptSet:
    """Each instruction as a single user turn, without system message, with the generation prompt.

    Args:
        tokenizer: the checkpoint's; its own template comes first, then that of the settings.

    Raises:
        InputError: there is no template, or it fails, or a stop token is not in the vocabulary.
        PermanentError: prompts begin with two BOS tokens.
    """
    template = _template(tokenizer, settings)
    token_ids = tuple(render(tokenizer, template, (text,)) for text in instructions)
    bos = tokenizer.bos_token_id
    if bos is not None and token_ids[0][:2] == (bos, bos):
        raise PermanentError(
            f"prompts begin with two BOS tokens ({bos}, {bos}): the chat template writes BOS twice; "
            "correct it in a copy of the checkpoint"
        )
    return PromptSet(template=template, token_ids=token_ids, stop_token_ids=_stop_ids(tokenizer, settings))


def render(
    tokenizer: "PreTrainedTokenizerBase",
    template: str,
    chat: tuple[str, ...],
    *,
    generation_prompt: bool = True,
) -> tuple[int, ...]:
    """The token ids of a chat (the user and the model in turn).

    Args:
        generation_prompt: whether the model is to answer; False for a chat that is judged as it is.

    Raises:
        InputError: the template fails on it, or comes to no end.
    """
    from jinja2 import TemplateError

    roles = ("user", "assistant")
    try:
        with _within_seconds(RENDER_SECONDS):
            text: str = tokenizer.apply_chat_template(
                [{"role": roles[number % 2], "content": said} for number, said in enumerate(chat)],
                chat_template=template,
                add_generation_prompt=generation_prompt,
                tokenize=False,
            )
    except TemplateError as error:
        raise InputError(f"the chat template fails on {len(chat)} messages: {error}") from error
    # The template writes every special token that belongs there; the tokenizer must add none.
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def _within_seconds(seconds: float) -> Iterator[None]:
    """Ends a block that computes for longer; of the main thread, where engines render, and of no other."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise InputError(
            f"the chat template computes for more than {seconds:g} s; correct it in a copy of the checkpoint"
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)  # by the processor's time: a busy machine is no fault
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def require_room(token_ids: tuple[tuple[int, ...], ...], max_model_len: int) -> None:
    """Refuses a prompt that leaves no room for an answer of one token.

    Raises:
        InputError: naming the first such instruction by its index.
    """
    for index, ids in enumerate(token_ids):
        if len(ids) >= max_model_len:
            raise InputError(
                f"instruction {index}: its prompt has {len(ids)} tokens, and the model takes "
                f"{max_model_len} with the answer; set a larger max_model_len or leave it out"
            )


def _template(tokenizer: "PreTrainedTokenizerBase", settings: GenerationSettings) -> str:
    if not tokenizer.chat_template and settings.chat_template:
        return settings.chat_template
    try:
        template: str = tokenizer.get_chat_template()
    except ValueError as error:
        raise InputError(
            "the checkpoint has no chat template; give one as chat_template (in the family's entry "
            f"of the registry, or in the settings): {error}"
        ) from error
    return template


def _stop_ids(tokenizer: "PreTrainedTokenizerBase", settings: GenerationSettings) -> tuple[int, ...]:
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in settings.stop_tokens if token not in vocabulary]
    if missing:
        raise InputError(
            f"the checkpoint's vocabulary lacks the stop tokens {', '.join(missing)}, so no answer would "
            "end there; correct stop_tokens (in the family's entry of the registry, or in the settings)"
        )
    return tuple(vocabulary[token] for token in settings.stop_tokens)
