"""The fields of config.json that change what weights mean, each under one name.

Both spellings of the rotary settings count as one (`rope_theta` and `rope_scaling` of transformers 4,
`rope_parameters` of 5), and so do the names of the activation.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["COMPUTED", "MEANING", "RESPELLED", "canonical"]

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


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
