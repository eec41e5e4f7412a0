"""Which adapters vLLM is asked to serve and how it is told; a stand-in takes the place of its engine."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import pytest

from tasks.core.errors import InputError
from tasks.generation.adapter_serving import (
    AdapterSlot,
    UnservedAdapterError,
    adapter_options,
    unserved_is_an_error,
)
from tests.weights.adapters import edit_config, save_adapter
from tests.weights.models import save_llama


class Request(NamedTuple):
    lora_name: str
    lora_int_id: int
    lora_path: str


class FakeLlm:
    """An LLM of several workers, each with its part of the layers; `loaded` has what it was given."""

    def __init__(self, *modules: set[str]) -> None:
        self.loaded: list[Request] = []
        self._workers = [self._worker(layers) for layers in modules]
        self.llm_engine = SimpleNamespace(add_lora=self.loaded.append)

    def collective_rpc(self, method: Any, args: tuple[int]) -> list[set[str]]:  # noqa: ANN401
        assert args == (self.loaded[-1].lora_int_id,)
        return [method(worker, *args) for worker in self._workers]

    def _worker(self, layers: set[str]) -> SimpleNamespace:
        adapter = SimpleNamespace(loras=dict.fromkeys(("0.q_proj", "1.q_proj")))
        manager = SimpleNamespace(get_adapter=lambda _: adapter, modules=dict.fromkeys(layers))
        return SimpleNamespace(
            model_runner=SimpleNamespace(lora_manager=SimpleNamespace(_adapter_manager=manager))
        )


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken from vLLM, without the seconds that its import takes."""
    monkeypatch.setitem(sys.modules, "vllm.lora.request", SimpleNamespace(LoRARequest=Request))
    ranks = SimpleNamespace(MaxLoRARanks=Literal[1, 8, 16, 32])
    monkeypatch.setitem(sys.modules, "vllm.config.lora", ranks)


def _slot(llm: FakeLlm) -> AdapterSlot:
    return AdapterSlot(llm)


def test_each_folder_is_an_adapter_of_its_own_to_vllm(tmp_path: Path) -> None:
    """Its caches go by the number and the name; one that is known is not loaded again."""
    llm = FakeLlm({"0.q_proj", "1.q_proj"})
    slot = _slot(llm)
    assert slot.request is None
    for name in ("half", "whole", "half"):
        slot.load(tmp_path / name)
    assert [Path(request.lora_path).name for request in llm.loaded] == ["half", "whole"]
    assert len({request.lora_int_id for request in llm.loaded}) == 2
    assert len({request.lora_name for request in llm.loaded}) == 2
    assert slot.request == llm.loaded[0]


def test_the_workers_layers_together_have_to_take_every_module(tmp_path: Path) -> None:
    _slot(FakeLlm({"0.q_proj"}, {"1.q_proj"})).load(tmp_path)
    with pytest.raises(UnservedAdapterError, match=r"leaves 1 of the adapter's modules out, as 1\.q_proj"):
        _slot(FakeLlm({"0.q_proj"}, {"0.q_proj"})).load(tmp_path)


def test_what_vllm_raises_about_an_adapter_is_said_in_a_sentence() -> None:
    with (
        pytest.raises(UnservedAdapterError, match=r"\(ValueError: Foo does not support LoRA yet\.\)"),
        unserved_is_an_error(),
    ):
        raise ValueError("Foo does not support LoRA yet.\nmore")
    with pytest.raises(InputError), unserved_is_an_error():
        raise InputError("no template")


def test_room_is_made_for_the_rank_in_the_layers_that_the_adapter_changes(tmp_path: Path) -> None:
    save_llama(tmp_path / "sft", 1)
    adapter = tmp_path / "adapter"
    save_adapter(tmp_path / "sft", adapter, r=9, rank_pattern={"q_proj": 3})
    assert adapter_options(adapter) == {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": 16,
        "lora_target_modules": ["down_proj", "q_proj", "v_proj"],
    }
    edit_config(adapter, rank_pattern={"o_proj": 20})
    assert adapter_options(adapter)["max_lora_rank"] == 32, "vLLM counts what the configuration states"
    edit_config(adapter, rank_pattern={"o_proj": 33})
    with pytest.raises(UnservedAdapterError, match="rank 33, and vLLM serves 32 at most"):
        adapter_options(adapter)
