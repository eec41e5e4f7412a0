"""A LoRA adapter as peft saves it: its configuration and where its tensors lie, from headers alone."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from tasks.core.errors import CorruptError, InputError
from tasks.core.values import Value
from tasks.stores.source import Source
from tasks.weights.archive import read_archive
from tasks.weights.checkpoint import FORMS
from tasks.weights.headers import TensorRange, read_header

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "Adapter",
    "AdapterConfig",
    "Factors",
    "is_adapter",
    "read_adapter",
]

ADAPTER_CONFIG = "adapter_config.json"
READERS = {"adapter_model.safetensors": read_header, "adapter_model.bin": read_archive}
ADAPTER_WEIGHTS = tuple(READERS)
MAX_CONFIG_BYTES = 10_000_000
PREFIX = "base_model.model."
# What peft wraps in a low-rank layer; its weight is not trained, its bias may be.
BASE_WEIGHT = ".base_layer.weight"
FACTOR = re.compile(
    r"(?P<module>.+)\.(?P<factor>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.(?P<adapter>(?!weight$)[^.]+))?(\.weight)?"
)
# Initializations that leave the base model as it is; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA, …)
# change its weights, and the adapter is one on those.
KEEP_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
# What peft does beside θ + s·BA: none of it is a linear update of the weights that is known here.
OTHER_METHODS = (
    *("alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias"),
    *("monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora"),
)
MERGE_FIRST = (
    "merge it into its base model with peft (merge_and_unload, then save_pretrained) and give that model"
)


class AdapterConfig(Value):
    """What an adapter_config.json says of the update; names as in peft's LoraConfig.

    content  the whole file, as it was read
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    r: int = Field(default=8, gt=0)
    lora_alpha: float = Field(default=8, allow_inf_nan=False)
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    alpha_pattern: dict[str, float] = Field(default_factory=dict)
    base_model_name_or_path: str | None = None
    revision: str | None = None
    content: dict[str, Any] = Field(exclude=True)

    def alpha_of(self, module: str) -> float:
        """A module's lora_alpha, by the first of `alpha_pattern` that ends its name, as peft has it.

        Raises:
            InputError: a pattern is no regular expression.
        """
        try:
            patterns = (alpha for key, alpha in self.alpha_pattern.items() if _ends(key, module))
            return next(patterns, self.lora_alpha)
        except re.error as error:
            raise InputError(
                f"{ADAPTER_CONFIG}: alpha_pattern holds no regular expression ({error})"
            ) from error

    def scale_of(self, module: str, rank: int) -> float:
        """What B·A of a module is multiplied by."""
        return self.alpha_of(module) / (math.sqrt(rank) if self.use_rslora else rank)


class Factors(Value):
    """The tensors of one adapted module: A (rank, in), B (out, rank), DoRA's magnitude (out,)."""

    a: TensorRange
    b: TensorRange
    embedding: bool
    magnitude: TensorRange | None = None


class Adapter(Value):
    """An adapter's tensors, by the names that modules and tensors have in the model.

    file         of the weights
    modules      module → its low-rank factors
    saved        tensors that were trained and saved whole: modules_to_save, biases
    base_copies  tensors of the base model that peft saved beside the factors of an embedding
    side_files   the tokenizer and what else lies beside the adapter
    """

    config: AdapterConfig
    file: str
    modules: dict[str, Factors]
    saved: dict[str, TensorRange]
    base_copies: dict[str, TensorRange]
    side_files: tuple[str, ...]

    @property
    def whole_tensors(self) -> str | None:
        """Why the update is not the scaled product alone: what is beside it; None where nothing is."""
        if any(factors.magnitude for factors in self.modules.values()):
            return "DoRA magnitudes"
        if self.saved:
            return f"whole tensors ({', '.join(sorted(self.saved)[:3])})"
        return None


def is_adapter(source: Source) -> bool:
    """Whether a folder holds an adapter and no whole model beside it."""
    files = source.files()
    whole = any(form.index_file in files or form.single in files for form in FORMS)
    return ADAPTER_CONFIG in files and not whole


def read_adapter(source: Source) -> Adapter:
    """Reads an adapter's configuration and the header of its weights; nothing is executed.

    Raises:
        InputError: it is no LoRA adapter, or one whose update is not known from the adapter alone.
        CorruptError: its configuration or weights are damaged, or a factor is missing.
    """
    uri, files = source.checkpoint.uri, source.files()
    config = _config(source)
    file = next((name for name in READERS if name in files), None)
    if file is None:
        raise InputError(f"{uri}: {ADAPTER_CONFIG} without {' or '.join(READERS)}; save the adapter again")
    tensors = READERS[file](source, file)
    modules, others = _modules(uri, tensors)
    whole = {name.replace(".modules_to_save.", "."): tensor for name, tensor in others.items()}
    copies = {name: tensor for name, tensor in whole.items() if name.endswith(BASE_WEIGHT)}
    saved = {name: tensor for name, tensor in whole.items() if name not in copies}
    return Adapter(
        config=config,
        file=file,
        modules=modules,
        saved={name.replace(".base_layer.", "."): tensor for name, tensor in saved.items()},
        base_copies={name.replace(".base_layer.", "."): tensor for name, tensor in copies.items()},
        side_files=tuple(sorted(name for name in files if _beside_adapter(name))),
    )


def _config(source: Source) -> AdapterConfig:
    where = f"{source.checkpoint.uri}: {ADAPTER_CONFIG}"
    size = source.files()[ADAPTER_CONFIG].size
    try:
        content = json.loads(source.read(ADAPTER_CONFIG, 0, min(size, MAX_CONFIG_BYTES)))
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        # Older versions of peft write null where newer ones write an empty value.
        stated = {name: value for name, value in content.items() if value is not None}
        config = AdapterConfig.model_validate(stated | {"content": content})
    except (ValueError, RecursionError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise CorruptError(f"{where} cannot be read ({reason}); fetch or save the adapter again") from error
    if (kind := content.get("peft_type", "LORA")) != "LORA":
        raise InputError(f"{where} is of type {kind}, not LORA; {MERGE_FIRST}")
    if (initialized := content.get("init_lora_weights")) not in KEEP_BASE:
        raise InputError(
            f"{where} has init_lora_weights {initialized!r}, which changes the base model's weights too; "
            f"convert it with peft's path_initial_model_for_weight_conversion, or {MERGE_FIRST}"
        )
    if used := [name for name in OTHER_METHODS if content.get(name)]:
        raise InputError(f"{where} uses {', '.join(used)}, which is no update by B·A alone; {MERGE_FIRST}")
    return config


def _modules(
    uri: str, tensors: Mapping[str, TensorRange]
) -> tuple[dict[str, Factors], dict[str, TensorRange]]:
    """Module → its factors; and the tensors that are none."""
    found: dict[str, dict[str, TensorRange]] = {}
    others: dict[str, TensorRange] = {}
    adapters: set[str] = set()
    for name, tensor in tensors.items():
        if 0 in tensor.shape:
            raise InputError(
                f"{uri}: tensor {name!r} of the adapter is empty, as DeepSpeed ZeRO-3 leaves it; "
                "gather the parameters, then save the adapter again"
            )
        plain = name.removeprefix(PREFIX)
        match = FACTOR.fullmatch(plain)
        if match is None:
            others[plain] = tensor
            continue
        adapters.add(match["adapter"] or "default")
        found.setdefault(match["module"], {})[match["factor"]] = tensor
    if len(adapters) > 1:
        names = ", ".join(sorted(adapters))
        raise InputError(f"{uri}: several adapters in one file ({names}); save the trained one alone")
    if not found:
        raise InputError(f"{uri}: the adapter holds no low-rank factors; is it what the training saved?")
    return {module: _factors(uri, module, parts) for module, parts in found.items()}, others


def _factors(uri: str, module: str, parts: Mapping[str, TensorRange]) -> Factors:
    embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
    kind = "lora_embedding" if embedding else "lora"
    a, b = parts.get(f"{kind}_A"), parts.get(f"{kind}_B")
    if a is None or b is None:
        raise CorruptError(f"{uri}: module {module!r} has {', '.join(sorted(parts))} alone; save it again")
    magnitude = parts.get("lora_magnitude_vector")
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise InputError(
            f"{uri}: module {module!r} has factors of shape {list(b.shape)} and {list(a.shape)}, "
            f"no product of two matrices; {MERGE_FIRST}"
        )
    if magnitude is not None and (embedding or magnitude.shape != b.shape[:1]):
        raise InputError(
            f"{uri}: module {module!r} has a magnitude of shape {list(magnitude.shape)}; {MERGE_FIRST}"
        )
    return Factors(a=a, b=b, embedding=embedding, magnitude=magnitude)


def _beside_adapter(name: str) -> bool:
    """Whether a file is the tokenizer's: of what trainers leave beside an adapter, all that a model needs."""
    return bool(
        re.search(r"^(tokenizer|special_tokens|added_tokens|chat_template|vocab|merges|spiece)", name)
    )


def _ends(pattern: str, module: str) -> bool:
    return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None
