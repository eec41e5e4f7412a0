"""The registry: `families.yaml`, read once into frozen, validated values.

$EXPO_FAMILIES names another file of the same form: families of one's own, and fields that replace
those of the project's (`zephyr-7b-beta: {tensor_parallel_size: 2}`).
"""

import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tasks.core.errors import InputError
from tasks.core.text_files import one_line, read_text
from tasks.core.values import Value

__all__ = [
    "COST_SETTINGS",
    "REGISTRY",
    "CostTask",
    "Family",
    "Group",
    "Published",
    "find_family",
    "load_registry",
    "names",
    "registry",
]

REGISTRY = Path(__file__).with_name("families.yaml")

Group = Literal["published", "experimental", "embedded"]


class Published(Value):
    """Figures of the authors' tables: (original, + ExPO).

    win_rate and lc_win_rate are AlpacaEval 2.0 in %, judged by gpt-4-1106-preview;
    mt_bench is the average rating from 1 to 10, judged by gpt-4.
    """

    win_rate: tuple[float, float]
    lc_win_rate: tuple[float, float]
    mt_bench: tuple[float, float]


CostTask = Literal["arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"]

# how the authors measured each: completions with solved examples, not a chat
COST_SETTINGS: dict[CostTask, str] = {
    "arc": "ARC, 25 shots, normalized accuracy",
    "gsm8k": "GSM8K, 5 shots, exact match",
    "hellaswag": "HellaSwag, 10 shots, normalized accuracy",
    "mmlu": "MMLU, 5 shots, accuracy",
    "truthfulqa": "TruthfulQA, 0 shots, mc2",
    "winogrande": "WinoGrande, 5 shots, accuracy",
}


class Family(Value):
    """A registry entry: two checkpoints, α, and how the pair is prompted and judged.

    aligned, sft          θ_1 and θ_0: hub ids, folders, `s3://…`, or `NAME:…` of a provider
    provider              the module that has the checkpoints, instructions and judge that are called
                          `NAME:…`: see `tasks.core.providers`
    provider_needs        modules that the provider imports, beyond those of a run
    aligned_revision, sft_revision   branch, tag or commit of a hub id; None: the head of main, whose
                          commit the manifest names
    alpha_source          where α comes from
    billions              parameters, in 10⁹
    gated                 hub ids whose license has to be accepted first
    allow                 fields of config.json that may differ between the two: see `expo check --allow`
    trust_remote_code     whether the checkpoint's own Python may run (at its pinned commit)
    chat_template         Jinja, used when the aligned checkpoint brings none
    stop_tokens           strings of end tokens, beside those that the checkpoint names
    max_tokens            most tokens of an answer
    tensor_parallel_size, pipeline_parallel_size, max_model_len, gpu_memory_utilization
                          of the engine that serves it: see `tasks.generation.settings`
    published_costs       the authors' figures of other abilities in %, by lm-eval as `COST_SETTINGS` says:
                          (original, + ExPO), and the standard error of the latter
    instructions          the family's own AlpacaEval-form file; None: the 805 of AlpacaEval
    alpha_instructions    held-out instructions for the α curve: never those of the benchmark
    judge                 the provider's judge of pairwise comparisons; None: the run's
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    group: Group = "published"
    aligned: str = Field(min_length=1)
    sft: str = Field(min_length=1)
    provider: str | None = None
    provider_needs: tuple[str, ...] = ()
    aligned_revision: str | None = None
    sft_revision: str | None = None
    alpha: float = Field(allow_inf_nan=False)
    alpha_source: str = Field(min_length=1)
    architecture: str
    billions: float | None = Field(default=None, gt=0)
    gated: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    trust_remote_code: bool = False
    chat_template: str | None = None
    stop_tokens: tuple[str, ...] = ()
    max_tokens: int = Field(default=2048, gt=0)
    tensor_parallel_size: int = Field(default=1, gt=0)
    pipeline_parallel_size: int = Field(default=1, gt=0)
    max_model_len: int | None = Field(default=None, gt=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    published: Published | None = None
    published_costs: dict[CostTask, tuple[float, float] | tuple[float, float, float]] = Field(
        default_factory=dict
    )
    instructions: str | None = None
    alpha_instructions: str | None = None
    judge: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.judge is not None and (self.provider is None or not self.judge.startswith(f"{self.name}:")):
            raise ValueError(f"judge: a family's own is called {self.name}:… and comes from its provider")
        return self

    @classmethod
    def of_pair(cls, aligned: str, sft: str) -> Self:
        """An entry for two checkpoints that are no family of the registry; its α is to be searched for."""
        return cls(
            name="search",
            group="experimental",
            aligned=aligned,
            sft=sft,
            alpha=0.0,
            alpha_source="to be searched for",
            architecture="unknown",
        )

    @property
    def gpus(self) -> int:
        """GPUs that one engine uses."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    @property
    def checkpoints(self) -> tuple[str, str]:
        """The aligned and the SFT checkpoint as `open_source` takes them: `@revision` behind a pinned one."""
        return _pinned(self.aligned, self.aligned_revision), _pinned(self.sft, self.sft_revision)


def load_registry(path: Path = REGISTRY, *, over: Path | None = None) -> dict[str, Family]:
    """Reads a registry file; entries of `over` are added to it, or change fields of its entries.

    Raises:
        InputError: the file is no mapping, or an entry is wrong: names file, entry and field.
    """
    families = {name: _family(path, name, entry) for name, entry in _entries(path).items()}
    for name, entry in (_entries(over) if over else {}).items():
        if isinstance(entry, dict) and name in families:
            entry = families[name].model_dump(exclude={"name"}, exclude_unset=True) | entry
        families[name] = _family(over or path, name, entry)
    return families


@cache
def registry() -> dict[str, Family]:
    """The project's families by name, in the order of the published tables, then those of $EXPO_FAMILIES."""
    over = os.environ.get("EXPO_FAMILIES")
    return load_registry(over=Path(over).expanduser() if over else None)


def names(*groups: Group) -> tuple[str, ...]:
    """The names of all families, or of those in the given groups."""
    return tuple(name for name, entry in registry().items() if not groups or entry.group in groups)


def find_family(name: str) -> Family:
    """One family by name.

    Raises:
        InputError: there is no such family; the message names the nearest, and those that there are.
    """
    if name not in registry():
        near = get_close_matches(name, names(), n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"no family {name!r}; there are {', '.join(names())}{meant}")
    return registry()[name]


def _pinned(checkpoint: str, revision: str | None) -> str:
    return f"{checkpoint}@{revision}" if revision else checkpoint


def _entries(path: Path) -> dict[Any, Any]:
    import yaml  # only where a family is looked up

    try:
        entries = yaml.safe_load(read_text(path))
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {one_line(str(error))}") from error
    if not isinstance(entries, dict):
        raise InputError(f"{path}: expected a mapping from family names to entries")
    return entries


def _family(path: Path, name: object, entry: Any) -> Family:  # noqa: ANN401 - whatever the file holds
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {name}: expected a mapping of fields")
    if one_line(str(name)) != str(name):
        raise InputError(f"{path}: {str(name)!r}: a family's name is one line without control characters")
    try:
        return Family(name=str(name), **entry)
    except (ValidationError, TypeError) as error:
        raise InputError(f"{path}: {name}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
