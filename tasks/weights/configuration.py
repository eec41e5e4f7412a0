"""The two config.json compared: equal shapes can mean different things.

    compare(aligned, sft)      every field that changes what weights mean, and what only differs
    ties_words(config)         whether the head is the input embedding

Both spellings of the rotary settings count as one (`rope_theta` and `rope_scaling` of transformers 4,
`rope_parameters` of 5). A field that a config leaves out has the default of its class, from
config_defaults.json (made by tests/weights/config_defaults.py).
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from tasks.core.errors import CorruptError
from tasks.core.values import Value
from tasks.stores.source import Source

__all__ = [
    "COMPUTED",
    "CONFIG",
    "MEANING",
    "ConfigDifference",
    "canonical",
    "compare",
    "read_config",
    "ties_words",
]

CONFIG = "config.json"
MAX_CONFIG_BYTES = 10_000_000
NAMED_AT_MOST = 8

# What the computation of a forward pass depends on, beside the weights.
MEANING: Final = frozenset(
    [
        "activation",
        "alibi",
        "architectures",
        "attention_bias",
        "attention_multiplier",
        "attn_logit_softcapping",
        "dim_model_base",
        "embedding_multiplier",
        "final_logit_softcapping",
        "first_k_dense_replace",
        "full_attention_interval",
        "head_dim",
        "hidden_size",
        "intermediate_size",
        "kv_lora_rank",
        "layer_norm_eps",
        "layer_norm_epsilon",
        "layer_types",
        "linear_conv_kernel_dim",
        "logit_scale",
        "logits_scaling",
        "mlp_bias",
        "model_type",
        "moe_intermediate_size",
        "multi_query",
        "n_group",
        "new_decoder_architecture",
        "norm_eps",
        "norm_epsilon",
        "norm_topk_prob",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "parallel_attn",
        "partial_rotary_factor",
        "position_embedding_type",
        "q_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "query_pre_attn_scalar",
        "residual_multiplier",
        "rms_norm_eps",
        "rope_local_base_freq",
        "rope_scaling",
        "rope_theta",
        "routed_scaling_factor",
        "scale_attn_by_inverse_layer_idx",
        "scale_attn_weights",
        "scale_depth",
        "scale_emb",
        "scoring_func",
        "sliding_window",
        "tie_word_embeddings",
        "topk_group",
        "topk_method",
        "use_parallel_residual",
        "use_qk_norm",
        "v_head_dim",
    ]
)
COMPUTED: Final = frozenset(("head_dim", "num_key_value_heads"))
# Read by `canonical` under another name, or compared by other means than as a field.
RESPELLED: Final = frozenset(
    [
        "activation_function",
        "dtype",
        "hidden_act",
        "hidden_activation",
        "quantization_config",
        "rope_parameters",
        "rotary_emb_base",
        "rotary_pct",
        "torch_dtype",
        "use_sliding_window",
        "vocab_size",
        "_name_or_path",
        "name_or_path",
    ]
)
_UNKNOWN: Final = object()


class ConfigDifference(Value):
    """A field that the two sides state differently, and each side's value in the words of JSON.

    field  as in config.json; `text_config.rope_theta` where it is inside another
    """

    field: str
    aligned: str
    sft: str

    @property
    def name(self) -> str:
        """What `--allow` takes: the field without what it is inside of."""
        return self.field.rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.field} is {self.aligned} on the aligned side, {self.sft} on the SFT side"


def read_config(source: Source) -> dict[str, Any] | None:
    """The content of config.json; None where there is none.

    Raises:
        CorruptError: it is no JSON object.
    """
    info = source.files().get(CONFIG)
    if info is None:
        return None
    if info.size > MAX_CONFIG_BYTES:
        raise CorruptError(f"{CONFIG}: {info.size} bytes are too many for a configuration")
    try:
        content = json.loads(source.read(CONFIG, 0, info.size))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{CONFIG}: no JSON ({error}); fetch the file again") from error
    if not isinstance(content, dict):
        raise CorruptError(f"{CONFIG}: no JSON object; fetch the file again")
    return content


def compare(
    aligned: Mapping[str, Any], sft: Mapping[str, Any]
) -> tuple[tuple[ConfigDifference, ...], tuple[str, ...]]:
    """What differs in meaning, and one sentence for all that differs without changing what weights mean."""
    differences: list[ConfigDifference] = []
    others: list[str] = []
    _compare("", aligned, sft, differences, others)
    if not others:
        return tuple(differences), ()
    named = ", ".join(others[:NAMED_AT_MOST])
    more = f" and {len(others) - NAMED_AT_MOST} more" if len(others) > NAMED_AT_MOST else ""
    return tuple(differences), (f"config.json also differs in {named}{more}; the aligned side's is kept",)


def ties_words(config: Mapping[str, Any]) -> bool:
    """Whether the head is the input embedding: by the flag, the text model's, or the class's default."""
    return _tie(config) or False


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of MEANING that a config states, each under one name; sections inside it are left out."""
    stated = {name: value for name, value in config.items() if name in MEANING}
    for name in ("hidden_activation", "hidden_act", "activation_function"):
        if config.get(name) is not None:
            stated.setdefault("activation", config[name])
    if config.get("use_sliding_window") is False:
        stated["sliding_window"] = None
    stated |= _rotary(config)
    for name in COMPUTED:
        if stated.get(name, 0) is None:
            del stated[name]
    return stated


def _rotary(config: Mapping[str, Any]) -> dict[str, Any]:
    """Base frequencies and scaling, of either spelling; `rope_scaling` goes before `rope_parameters`."""
    parameters = _mapping(config.get("rope_parameters"))
    sliding: dict[str, Any] = {}
    if parameters and all(isinstance(value, dict) for value in parameters.values()):
        sliding = _mapping(parameters.get("sliding_attention"))
        parameters = _mapping(parameters.get("full_attention"))
    scaling = _mapping(config.get("rope_scaling")) or parameters
    found = {
        "rope_theta": parameters.get("rope_theta", config.get("rope_theta", config.get("rotary_emb_base"))),
        "rope_local_base_freq": sliding.get("rope_theta", config.get("rope_local_base_freq")),
        "partial_rotary_factor": parameters.get(
            "partial_rotary_factor", config.get("partial_rotary_factor", config.get("rotary_pct"))
        ),
    }
    stated = {name: value for name, value in found.items() if value is not None}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    rest = {
        name: value
        for name, value in scaling.items()
        if name not in ("type", "rope_type", "rope_theta", "partial_rotary_factor") and value is not None
    }
    # "dynamic" scales nothing within the trained length: it says how long prompts may be.
    stated["rope_scaling"] = None if kind in ("default", "dynamic") else {"rope_type": kind, **rest}
    return stated


def _compare(
    path: str,
    aligned: Mapping[str, Any],
    sft: Mapping[str, Any],
    differences: list[ConfigDifference],
    others: list[str],
) -> None:
    sides = _effective(aligned), _effective(sft)
    if not path:
        for side, config in zip(sides, (aligned, sft), strict=True):
            side["tie_word_embeddings"] = _UNKNOWN if (tie := _tie(config)) is None else tie
    for name in sorted((sides[0].keys() | sides[1].keys()) - ({"tie_word_embeddings"} if path else set())):
        new, old = (side.get(name, _UNKNOWN) for side in sides)
        if _equal(new, old):
            continue
        if new is _UNKNOWN or old is _UNKNOWN:
            others.append(path + name)
        else:
            differences.append(
                ConfigDifference(field=path + name, aligned=json.dumps(new), sft=json.dumps(old))
            )
    for name in sorted((aligned.keys() | sft.keys()) - MEANING - RESPELLED):
        new, old = aligned.get(name), sft.get(name)
        if name.endswith("_config") and isinstance(new, dict) and isinstance(old, dict):
            _compare(f"{path}{name}.", new, old, differences, others)
        elif new != old:
            others.append(path + name)


def _tie(config: Mapping[str, Any]) -> bool | None:
    """See `ties_words`; None where nothing says it."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(flag := part.get("tie_word_embeddings"), bool):
            return flag
    types = [part.get("model_type") for part in (config, text) if isinstance(part, dict)]
    flags = [_defaults().get(kind, {}).get("tie_word_embeddings") for kind in types if isinstance(kind, str)]
    return next((flag for flag in flags if isinstance(flag, bool)), None)


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config states, and where it states nothing what its class takes."""
    kind = config.get("model_type")
    values = dict(_defaults().get(kind, {})) if isinstance(kind, str) else {}
    values |= canonical(config)
    heads, size = values.get("num_attention_heads"), values.get("hidden_size")
    if isinstance(heads, int) and isinstance(size, int) and heads > 0:
        values.setdefault("num_key_value_heads", heads)
        values.setdefault("head_dim", size // heads)
    return values


def _equal(new: object, old: object) -> bool:
    if new is _UNKNOWN or old is _UNKNOWN:
        return new is old or new is None or old is None
    return new == old


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """Model type → field → value."""
    found: dict[str, dict[str, Any]] = json.loads(
        Path(__file__).with_name("config_defaults.json").read_text()
    )
    return found
