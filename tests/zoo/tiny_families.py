"""What is peculiar about each of the fourteen pairs, by the registry's names."""

from typing import Literal, NamedTuple

from tests.zoo.templates import LLAMA3, MISTRAL

__all__ = ["SPECS", "FamilySpec", "Side"]

Form = Literal["safetensors", "pickle", "both"]
Kind = Literal["mistral", "openchat", "llama2", "llama3", "internlm2"]


class Side(NamedTuple):
    """One checkpoint of a pair: how its weights are kept.

    form      safetensors, `.bin`, or both beside each other
    shards    how many files the tensors are cut into (1: no index)
    buffers   whether old fp32 rotary_emb.inv_freq buffers are among them
    template  its chat template; "family": the registry's; None: none
    """

    form: Form
    shards: int
    buffers: bool = False
    template: str | None = "family"


class FamilySpec(NamedTuple):
    """A pair.

    kind      architecture and tokenizer
    dtype     of the weights
    heads     (attention heads, key-value heads), each of 32 dimensions
    ends      the strings of the end tokens that the generation config names
    eos       the tokenizer's own end token
    gated     the hub ids that are gated are in the registry
    """

    kind: Kind
    aligned: Side
    sft: Side
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    heads: tuple[int, int] = (2, 1)
    layers: int = 2
    ends: tuple[str, ...] = ("</s>",)
    eos: str = "</s>"


EOT, EOT3 = "<|end_of_text|>", "<|eot_id|>"
ST: Form = "safetensors"

SPECS: dict[str, FamilySpec] = {
    "zephyr-7b-alpha": FamilySpec("mistral", Side("both", 3), Side("both", 2)),
    "zephyr-7b-beta": FamilySpec("mistral", Side("both", 4), Side(ST, 3)),
    # its generation config names </s> alone, while turns end with <|end_of_turn|>
    "starling-lm-7b-alpha": FamilySpec("openchat", Side(ST, 3), Side("pickle", 2)),
    "starling-lm-7b-beta": FamilySpec("openchat", Side(ST, 2), Side(ST, 3)),
    "snorkel-mistral-pairrm-dpo": FamilySpec(
        "mistral", Side("pickle", 2, template=MISTRAL), Side(ST, 3, template=MISTRAL)
    ),
    "llama3-iterative-dpo-final": FamilySpec(
        "llama3", Side(ST, 4, template=LLAMA3), Side(ST, 3, template=LLAMA3), ends=(EOT, EOT3), eos=EOT3
    ),
    # its generation config names </s> alone, while turns end with <|im_end|>
    "internlm2-chat-1_8b": FamilySpec("internlm2", Side(ST, 2), Side(ST, 1), dtype="float16"),
    "internlm2-chat-7b": FamilySpec("internlm2", Side(ST, 4), Side(ST, 2), dtype="float16"),
    "internlm2-chat-20b": FamilySpec("internlm2", Side(ST, 5), Side(ST, 3), dtype="float16", layers=3),
    # two without a template of their own: the registry's stands in
    "tulu-2-dpo-7b": FamilySpec(
        "llama2", Side("pickle", 2, template=None), Side("pickle", 3, template=None), heads=(2, 2)
    ),
    "tulu-2-dpo-13b": FamilySpec("llama2", Side("both", 3), Side("pickle", 2, buffers=True), heads=(2, 2)),
    "tulu-2-dpo-70b": FamilySpec(
        "llama2", Side(ST, 8, template=None), Side("pickle", 2, buffers=True, template=None), layers=3
    ),
    "llama3-8b-chinese-chat": FamilySpec(
        "llama3", Side(ST, 4, template=LLAMA3), Side(ST, 3, template=LLAMA3), ends=(EOT, EOT3), eos=EOT3
    ),
    # its generation config names <|end_of_text|>, its tokenizer <|eot_id|>
    "llama3-70b-chinese-chat": FamilySpec(
        "llama3",
        Side(ST, 6, template=LLAMA3),
        Side(ST, 4, template=LLAMA3),
        layers=3,
        ends=(EOT,),
        eos=EOT3,
    ),
}
