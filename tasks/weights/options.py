"""The choices of a user's options, apart from the models that hold them.

They import nothing of this project, so that help can be shown before pydantic is loaded.
"""

from typing import Literal

__all__ = [
    "AdapterMode",
    "Arithmetic",
    "Device",
    "Extra",
    "InputMode",
    "ModulePreset",
    "Nonfinite",
    "OutputDtype",
    "Vocabulary",
]

Arithmetic = Literal["fp32", "parity"]
"""fp32 with one rounding, or the authors' bf16 operations bit for bit."""

AdapterMode = Literal["scale", "merge"]

OutputDtype = Literal["bfloat16", "float16", "float32"]

Vocabulary = Literal["error", "common-rows", "by-position"]
"""Where the two sides have different numbers of vocabulary rows: refuse, or extrapolate the common."""

ModulePreset = Literal["fusionbench", "lines"]
Nonfinite = Literal["error", "allow"]
"""NaN or Inf in a parent: refuse, or count."""

Extra = Literal["error", "aligned"]
"""Tensors that only the aligned side has: refuse, or take over."""

InputMode = Literal["download", "stream"]
"""Whole files first, or ranges as they are needed."""

Device = Literal["cpu", "cuda", "auto"]
"""Where shards are computed; `auto`: on a GPU where there is one."""
