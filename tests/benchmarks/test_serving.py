"""A judge that the run serves itself: a real vLLM server over a tiny model that always says the same."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.benchmarks import serving as judge_servers
from tasks.benchmarks.alpaca_judge import judge_answers
from tasks.benchmarks.alpaca_score import preferences
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.serving import serving
from tasks.core.errors import RetryableError
from tests.benchmarks.answers import write_outputs
from tests.generation.conftest import make_tiny_llama
from tests.waiting import LIMIT, wait_until

LONG = [f"a much longer answer {index}" for index in range(12)]
SHORT = [f"short {index}" for index in range(12)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that says "m" with three times the probability of "M", whatever it is asked."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("judge"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor.zero_()  # no layer adds anything: each position holds its token's embedding
    tensors["model.embed_tokens.weight"].fill_(1)
    tensors["model.norm.weight"].fill_(1)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    head = torch.zeros_like(tensors["lm_head.weight"])
    head[vocabulary["m"], 0], head[vocabulary["M"], 0] = 16, 16 - math.log(3)
    tensors["lm_head.weight"] = head
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


CHILD = """
import sys, time
from pathlib import Path
from tasks.benchmarks.judge_config import Judge, ServeConfig
from tasks.benchmarks.serving import serving
judge = Judge(model="tiny", serve=ServeConfig(checkpoint=sys.argv[1]))
with serving(judge, Path(sys.argv[2])) as endpoint:
    print(endpoint.url, flush=True)
    time.sleep(3600)
"""


@pytest.mark.slow
def test_a_served_judge_judges_and_dies_with_its_parent(checkpoint: Path, tmp_path: Path) -> None:
    answers = write_outputs(tmp_path / "answers.json", LONG, "model")
    references = write_outputs(tmp_path / "reference.json", SHORT, "reference")
    command = [sys.executable, "-c", CHILD, str(checkpoint), str(tmp_path / "judge.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            url = parent.stdout.readline().strip()
            judge = Judge(model="tiny", base_url=url, both_orders=True, timeout_s=LIMIT)
            annotations = judge_answers(answers, references, judge, tmp_path / "out", advance=lambda _: None)
            assert _processes(checkpoint)
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    # "m" is what is shown first: each order by itself is three to one, and both cancel
    assert list(preferences(annotations).values()) == pytest.approx([0.5] * 12, abs=0.01)
    swapped = {row["preference_swapped"] for row in json.loads(annotations.read_text())}
    assert sorted(round(preference, 2) for preference in swapped) == pytest.approx([1.25, 1.75], abs=0.02)
    wait_until(lambda: not _processes(checkpoint), "the server's end after its parent's")


def _processes(checkpoint: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"--model={checkpoint}" in text:
            found.append(text)
    return found


def test_a_server_that_ends_early_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/config.json").write_text("{}")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such architecture\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setenv("EXPO_ENGINE_PYTHON", str(python))
    judge = Judge(model="tiny", serve=ServeConfig(checkpoint=str(tmp_path / "checkpoint")))
    with (
        pytest.raises(RetryableError, match=r"(?s)exit status 3 before it answered.*no such architecture"),
        serving(judge, tmp_path / "judge.log"),
    ):
        pass
    assert not judge_servers._entries[judge.serve or ServeConfig(checkpoint="x"), "tiny"].users


def test_judgings_at_once_share_a_server_and_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    everybody = Lock()

    @contextmanager
    def server(*_: object) -> Iterator[str]:
        events.append("start")
        yield "http://127.0.0.1:1/v1"
        events.append("end")

    monkeypatch.setattr(judge_servers, "_server", server)
    judge = Judge(model="shared", serve=ServeConfig(checkpoint="org/judge"))
    slot = Lock()
    inside = []

    def use() -> None:
        with serving(judge, tmp_path / "judge.log", slot) as endpoint:
            with everybody:
                inside.append(endpoint.url)
                assert slot.locked()
            while len(inside) < 3:
                time.sleep(0.01)

    threads = [Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events == ["start", "end"] and not slot.locked()
