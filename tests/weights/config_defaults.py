"""Makes tasks/weights/config_defaults.json: what a config.json that leaves a field out means.

    python -m tests.weights.config_defaults        after an update of transformers

A value that follows from another field (head_dim from hidden_size) is left out: the comparison
computes it.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.weights import config_fields
from tasks.weights.config_fields import COMPUTED, MEANING, canonical

__all__ = ["defaults"]

TARGET = Path(config_fields.__file__).with_name("config_defaults.json")


def defaults(names: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Model type → field → value; of every architecture of transformers that writes text if none is named."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    text = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    vision = set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    found = {name: _defaults_of(CONFIG_MAPPING[name]) for name in sorted(names or text | vision)}
    return {name: values for name, values in found.items() if values}


def _defaults_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 (a configuration class)
    try:
        plain = canonical(kind().to_dict())
    except Exception:  # it has no defaults for the models inside it
        return {}
    try:
        other = canonical(
            kind(
                hidden_size=4 * plain.get("hidden_size", 64),
                num_attention_heads=2 * plain.get("num_attention_heads", 2),
            ).to_dict()
        )
    except Exception:  # some classes check what belongs together
        other = {name: value for name, value in plain.items() if name not in COMPUTED}
    skipped = {"model_type", "architectures", "layer_types"}
    return {
        name: value
        for name, value in plain.items()
        if name in MEANING - skipped and value is not None and other.get(name) == value
    }


if __name__ == "__main__":
    rows = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in defaults().items()]
    TARGET.write_text("{\n" + ",\n".join(rows) + "\n}\n")
