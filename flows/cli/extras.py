"""The packages that a command needs beyond the base installation, and how to install them.

The base has `check`, `extrapolate` on the CPU, `verify`, `publish`, `gc`, `families`; each extra of
pyproject.toml is named after its use.
"""

import sys
from collections.abc import Collection
from importlib.util import find_spec
from typing import NoReturn

from tasks.core.errors import PermanentError

__all__ = ["explain_missing", "require_for_run"]

RUN = ("alpaca_eval", "httpx", "jsonpatch", "matplotlib", "openai", "pandas", "prefect", "scipy")
CLUSTER = ("dask", "prefect_dask")
DEMO = ("tokenizers", "torch", "transformers")
ENGINE = ("vllm",)
SIGN = ("OpenSSL", "cryptography", "model_signing")
GUARDS = ("langdetect", "lm_eval", "nltk")
EXTRAS = {"run": RUN, "cluster": CLUSTER, "demo": DEMO, "cpu": ENGINE, "sign": SIGN, "guards": GUARDS}
EXTRA_OF = {
    **{module: extra for extra, modules in EXTRAS.items() for module in modules},
    "torch": "cuda",  # the smallest that has it
}


def explain_missing(error: ModuleNotFoundError) -> NoReturn:
    """Says which extra brings the module that an import did not find.

    Raises:
        PermanentError: with one line that says what to install.
        ModuleNotFoundError: the error itself, of a module that no extra brings.
    """
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(module)
    if extra is None:
        raise error
    raise PermanentError(f"no module {module!r}: it comes with the extra `{extra}`; {_install(extra)}")


def require_for_run(*, modules: Collection[str] = (), engine: bool) -> None:
    """Checks that everything a run needs is installed, before hours of work.

    Args:
        modules: what the providers of its families import.
        engine: whether it answers with vLLM, here or in the environment of EXPO_ENGINE_PYTHON.

    Raises:
        PermanentError: with one line that says what to install, or which module no extra brings.
        InputError: EXPO_ENGINE_PYTHON names no interpreter, or one without vLLM.
    """
    from tasks.generation.interpreter import engine_python, engine_version

    needed = ["run", *_extras_with(modules)]
    needed += ["cpu"] if engine and engine_python() == sys.executable else []
    extras = [extra for extra in needed if any(find_spec(module) is None for module in EXTRAS[extra])]
    if extras:
        gpu = "; on a machine with GPUs gpu in place of cpu" if "cpu" in extras else ""
        raise PermanentError(f"a run needs more than is installed: {_install(','.join(extras))}{gpu}")
    if engine:
        engine_version(engine_python())


def _extras_with(modules: Collection[str]) -> list[str]:
    """The extra that brings all of these modules, if it takes one; others are looked for by their name."""
    if set(modules) <= set(RUN):
        return []
    found = [extra for extra, brought in EXTRAS.items() if set(modules) <= set(brought)]
    missing = [module for module in modules if find_spec(module) is None]
    if missing and not found:
        raise PermanentError(f"a run needs {', '.join(missing)}: install what has them")
    return found[:1]


def _install(extra: str) -> str:
    return f"pip install 'expo-flows[{extra}]'"
