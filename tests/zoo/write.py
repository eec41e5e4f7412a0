"""The zoo on disk: every checkpoint's files, as its repository on the Hub has them."""

import json
from pathlib import Path

from tasks.core.families import Family, find_family
from tests.zoo.tiny_families import SPECS, FamilySpec, Side
from tests.zoo.vocabulary import TURN_ENDS, ids_of, tokenizer_files, tokenizer_of
from tests.zoo.weights import HIDDEN, MIDDLE, weight_files

__all__ = ["checkpoints_of", "write_zoo"]

CODE = Path(__file__).with_name("remote_code")
POSITIONS = 2048
CLASSES = {"mistral": "Mistral", "openchat": "Mistral", "llama2": "Llama", "llama3": "Llama"}


def write_zoo(folder: Path, names: tuple[str, ...] = tuple(SPECS)) -> dict[str, Path]:
    """Writes the pairs of these families (default: all fourteen); the folders by hub id.

    The same bytes every time: about 0.5 MB a checkpoint, two seconds for all.
    """
    folders = {}
    for name in names:
        for hub_id, files in checkpoints_of(name).items():
            folders[hub_id] = folder / hub_id
            folders[hub_id].mkdir(parents=True, exist_ok=True)
            for file, content in files.items():
                (folders[hub_id] / file).write_bytes(content)
    return folders


def checkpoints_of(name: str) -> dict[str, dict[str, bytes]]:
    """The files of a family's two checkpoints, by hub id and file name."""
    entry, spec = find_family(name), SPECS[name]
    return {
        entry.aligned: _checkpoint(entry, spec, spec.aligned, sft=False),
        entry.sft: _checkpoint(entry, spec, spec.sft, sft=True),
    }


def _checkpoint(entry: Family, spec: FamilySpec, side: Side, *, sft: bool) -> dict[str, bytes]:
    template = entry.chat_template if side.template == "family" else side.template
    vocabulary = tokenizer_of(spec.kind).get_vocab_size()
    (turn_end,) = ids_of(spec.kind, (TURN_ENDS.get(spec.kind, "</s>"),))
    card = f"A stand-in for {entry.sft if sft else entry.aligned}: noise, for tests.\n"
    files = {
        "README.md": card.encode(),
        "config.json": json.dumps(_config(spec, vocabulary), indent=2).encode(),
        "generation_config.json": json.dumps(_generation_config(spec), indent=2).encode(),
        **tokenizer_files(spec.kind, spec.eos, template),
        **weight_files(entry.name, spec, side, vocabulary, turn_end, sft=sft),
    }
    if spec.kind == "internlm2":
        files |= {path.name: path.read_bytes() for path in sorted(CODE.glob("*.py"))}
    return files


def _config(spec: FamilySpec, vocabulary: int) -> dict[str, object]:
    """With the names that the fields had when these checkpoints were published."""
    (begin,) = ids_of(spec.kind, ("<|begin_of_text|>" if spec.kind == "llama3" else "<s>",))
    heads, groups = spec.heads
    config: dict[str, object] = {
        "architectures": [f"{CLASSES.get(spec.kind, 'InternLM2')}ForCausalLM"],
        "model_type": CLASSES.get(spec.kind, "internlm2").lower(),
        "bos_token_id": begin,
        "eos_token_id": ids_of(spec.kind, spec.ends)[0],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": MIDDLE,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": heads,
        "num_hidden_layers": spec.layers,
        "num_key_value_heads": groups,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0 if spec.kind == "llama3" else 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": spec.dtype,
        "transformers_version": "4.36.2",
        "use_cache": True,
        "vocab_size": vocabulary,
    }
    if spec.kind in ("mistral", "openchat"):
        config["sliding_window"] = None if spec.kind == "mistral" else 4096
    if spec.kind == "internlm2":
        config |= {
            "attn_implementation": "eager",
            "auto_map": {
                "AutoConfig": "configuration_internlm2.InternLM2Config",
                "AutoModel": "modeling_internlm2.InternLM2ForCausalLM",
                "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
            },
            "bias": False,
            "pad_token_id": 2,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
        }
    return config


def _generation_config(spec: FamilySpec) -> dict[str, object]:
    ends = ids_of(spec.kind, spec.ends)
    begin = "<|begin_of_text|>" if spec.kind == "llama3" else "<s>"
    return {
        "_from_model_config": True,
        "bos_token_id": ids_of(spec.kind, (begin,))[0],
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
        "transformers_version": "4.36.2",
    }
