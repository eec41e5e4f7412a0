"""What a command needs beyond the base installation, and how to get it.

The base has `check`, `extrapolate` on the CPU, `verify`, `publish`, `gc`, `families`; each extra of
pyproject.toml is named after what one does with it.
"""

import sys
from importlib.util import find_spec
from typing import NoReturn

from tasks.core.errors import PermanentError

__all__ = ["explain_missing", "require_for_run"]

RUN = ("alpaca_eval", "httpx", "jsonpatch", "matplotlib", "openai", "pandas", "prefect", "scipy")
CLUSTER = ("dask", "prefect_dask")
DEMO = ("tokenizers", "torch", "transformers")
ENGINE = ("vllm",)
SIGN = ("OpenSSL", "cryptography", "model_signing")
EXTRA_OF = {
    **{
        module: extra
        for extra, modules in (
            ("run", RUN),
            ("cluster", CLUSTER),
            ("demo", DEMO),
            ("cpu", ENGINE),
            ("sign", SIGN),
        )
        for module in modules
    },
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


def require_for_run(*, demo: bool, engine: bool) -> None:
    """Looks for everything that a run needs, before hours of work.

    demo    it trains the demo's checkpoints
    engine  it answers with vLLM, here or in the environment of EXPO_ENGINE_PYTHON

    Raises:
        PermanentError: with one line that says what to install.
        InputError: EXPO_ENGINE_PYTHON names no interpreter, or one without vLLM.
    """
    from tasks.generation.interpreter import engine_python, engine_version

    needed: list[tuple[str, tuple[str, ...]]] = [("run", RUN)]
    needed += [("demo", DEMO)] if demo else []
    needed += [("cpu", ENGINE)] if engine and engine_python() == sys.executable else []
    extras = [extra for extra, modules in needed if any(find_spec(module) is None for module in modules)]
    if extras:
        gpu = "; on a machine with GPUs gpu in place of cpu" if "cpu" in extras else ""
        raise PermanentError(f"a run needs more than is installed: {_install(','.join(extras))}{gpu}")
    if engine:
        engine_version(engine_python())


def _install(extra: str) -> str:
    return f"pip install 'expo-flows[{extra}]'"
