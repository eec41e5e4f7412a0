"""The settings of vLLM's LoRA kernels, read back by vLLM's own look-up for a GPU that is not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LOOK_UP = """
import json
import sys
from pathlib import Path
import torch
import vllm
from vllm.platforms import current_platform
from tasks.generation.adapter_kernels import order_sums
torch.cuda.get_device_name = current_platform.get_device_name = lambda *_: "NVIDIA H100 80GB HBM3"
from vllm.lora.ops.triton_ops import utils

def found():
    utils.load_lora_op_config.cache_clear()
    utils.get_lora_op_configs.cache_clear()
    return [
        utils.get_lora_op_configs("shrink", 2, batch, 4096, 64, slices)
        for batch in (1, 100, 4000)
        for slices in (1, 2, 3)
    ]

own = found()
order_sums(Path(sys.argv[1]))
print(json.dumps([own, found()]))
"""


def test_vllm_takes_the_settings_and_sums_in_one_part(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_TUNED_CONFIG_FOLDER"}
    ended = subprocess.run(
        [sys.executable, "-c", LOOK_UP, str(tmp_path / "kernels")],
        env=environment | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    own, ordered = json.loads(ended.stdout.splitlines()[-1])
    parts = {setting["split_k"] for setting in own}
    assert parts == {8, 64}, "vLLM's own choice; were it 1, adapter_kernels would not be needed"
    assert ordered == [setting | {"split_k": 1} for setting in own]
