"""LoRA adapters on a model in vLLM, one at a time. Imported by the engine process alone.

Adapters of one engine have the same modules and ranks, and differ in their scale.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tasks.core.errors import ExpoError, PermanentError

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    from tasks.weights.adapter import Adapter

__all__ = ["AdapterSlot", "UnservedAdapterError", "adapter_options", "unserved_is_an_error"]

NAMED = 3


class UnservedAdapterError(PermanentError):
    """vLLM does not compute with this adapter, or not with all of it."""


def adapter_options(folder: Path) -> dict[str, Any]:
    """What vLLM's LLM needs to know before it loads the model of an adapter.

    Only layers that the adapter changes make room for it: mixtures of experts have kernels for it on
    some platforms alone, and their room is large.

    Raises:
        UnservedAdapterError: its rank is larger than vLLM has.
    """
    from vllm.config.lora import MaxLoRARanks

    # An engine in another environment, which serves whole models alone, need not have what these import.
    from tasks.stores.folder_source import FolderSource
    from tasks.weights.adapter import read_adapter

    adapter = read_adapter(FolderSource(folder))
    rank = _rank(adapter)
    largest = min((known for known in get_args(MaxLoRARanks) if known >= rank), default=None)
    if largest is None:
        raise UnservedAdapterError(
            f"the adapter has rank {rank}, and vLLM serves {max(get_args(MaxLoRARanks))} at most"
        )
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": largest,
        "lora_target_modules": sorted({_layer(module) for module in adapter.modules}),
    }


@contextmanager
def unserved_is_an_error(unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Makes whatever vLLM raises about an adapter an UnservedAdapterError, in a sentence.

    Args:
        unless: asked then, whether it says nothing about the adapter.
    """
    try:
        yield
    except ExpoError:
        raise
    except Exception as error:
        if unless():
            raise
        reason = (str(error).strip() or "no message").splitlines()[0]
        raise UnservedAdapterError(
            f"vLLM does not serve this adapter beside its base model ({type(error).__name__}: {reason})"
        ) from error


class AdapterSlot:
    """The adapter that a model's requests name, out of those that it was given."""

    def __init__(self, llm: "LLM") -> None:
        self._llm = llm
        self._requests: dict[Path, LoRARequest] = {}
        self.request: LoRARequest | None = None

    def load(self, folder: Path) -> None:
        """Answers are the adapter's from here on.

        vLLM knows an adapter by its number and name, in its caches too: each folder has its own.

        Raises:
            UnservedAdapterError: vLLM refuses it, or has no place for some of its modules.
        """
        from vllm.lora.request import LoRARequest

        request = self._requests.get(folder)
        if request is None:
            number = len(self._requests) + 1
            request = LoRARequest(lora_name=str(folder), lora_int_id=number, lora_path=str(folder))
            with unserved_is_an_error():
                self._llm.llm_engine.add_lora(request)
                self._require_whole(number)
            self._requests[folder] = request
        self.request = request

    def _require_whole(self, number: int) -> None:
        """vLLM leaves modules out without a word that the model has no layer for."""
        left_out = set.intersection(*self._llm.collective_rpc(_left_out, args=(number,)))
        if left_out:
            names = ", ".join(sorted(left_out)[:NAMED])
            raise UnservedAdapterError(
                f"vLLM leaves {len(left_out)} of the adapter's modules out, as {names}"
            )


def _left_out(worker: Any, number: int) -> set[str]:  # noqa: ANN401 - vLLM's, of several classes
    """The adapter's modules that no layer in this worker's part of the model takes."""
    manager = worker.model_runner.lora_manager._adapter_manager
    return set(manager.get_adapter(number).loras) - set(manager.modules)


def _rank(adapter: "Adapter") -> int:
    """The largest, of what the configuration states and what the factors have."""
    content = adapter.config.content
    stated: list[int] = [adapter.config.r, *(content.get("rank_pattern") or {}).values()]
    return max([*stated, *(factors.a.shape[0] for factors in adapter.modules.values())])


def _layer(module: str) -> str:
    """A module's own name; all experts of a layer are one module to vLLM."""
    return "experts" if ".experts." in module else module.rpartition(".")[2]
