"""The caller's side, with shell scripts in the engine's place: failures, progress, cancellation."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import CorruptError, InputError, PermanentError, RetryableError
from tasks.generation import launch
from tasks.generation.process import generate, job_fingerprint
from tasks.generation.settings import GenerationJob, GenerationSettings, Sampling
from tests.generation import endless_engine

TRACEBACK = "Traceback (most recent call last):\\n"


def no_progress(_count: int) -> None:
    pass


@pytest.fixture
def job(tmp_path: Path) -> GenerationJob:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "instructions.json").write_text(json.dumps([{"instruction": "Hi"}]))
    return GenerationJob(
        model=str(tmp_path / "model"),
        instructions=str(tmp_path / "instructions.json"),
        output=str(tmp_path / "output"),
        settings=GenerationSettings(),
        generator="tiny",
        benchmark="alpaca_eval",
        form="instructions",
    )


def engine(folder: Path, script: str) -> str:
    """An interpreter that runs a shell script, whatever it is asked for."""
    path = folder / "engine.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# Each text is what vLLM or transformers prints; each advice is what a user can set.
@pytest.mark.parametrize(
    ("log", "kind", "advice"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to", PermanentError, "tensor_parallel_size"),
        ("ValueError: No available memory for the cache blocks.", PermanentError, "gpu_memory_utilization"),
        ("(4096), (2.0 GiB KV cache is needed, which", PermanentError, "smaller max_model_len"),
        (
            "ValueError: Free memory on device cuda:0 (9/80 GiB) on startup is less than desired GPU memory",
            PermanentError,
            "smaller gpu_memory",
        ),
        (
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
            PermanentError,
            "KVCACHE",
        ),
        ("World size (8) is larger than the number of available GPUs", PermanentError, "RAY_ADDRESS"),
        (
            "NotImplementedError: Pipeline parallelism is not supported for this model.",
            PermanentError,
            "leave",
        ),
        ("User-specified max_model_len (9) is greater than the derived", PermanentError, "max_model_len"),
        ("Model architectures ['X'] are not supported for now.", PermanentError, "architecture"),
        ("Please pass the argument `trust_remote_code=True` to", PermanentError, "trust_remote_code"),
        ("SafetensorError: Error while deserializing header", CorruptError, "weights are damaged"),
        ("RuntimeError: Cannot find any model weights with", CorruptError, "get them again"),
        ("pydantic_core._pydantic_core.ValidationError: 1 valid", PermanentError, "vLLM refuses"),
        ("ModuleNotFoundError: No module named 'vllm'", PermanentError, "extra `cpu` or `gpu`"),
    ],
)
def test_known_failures_say_what_to_set(
    job: GenerationJob, tmp_path: Path, log: str, kind: type[PermanentError], advice: str
) -> None:
    python = engine(tmp_path, f'printf "{TRACEBACK}%s\\n" "{log.replace("`", chr(92) + "`")}"; exit 1')
    with pytest.raises(kind, match=advice) as caught:
        generate([job], advance=no_progress, python=python)
    assert type(caught.value) is kind
    assert log in str(caught.value)


def test_harmless_log_lines_do_not_make_a_crash_permanent(job: GenerationJob, tmp_path: Path) -> None:
    python = engine(tmp_path, 'echo "INFO use trust_remote_code=True if CUDA out of memory"; kill -SEGV $$')
    with pytest.raises(RetryableError, match="signal 11"):
        generate([job], advance=no_progress, python=python)


def test_a_killed_engine_is_retryable_and_its_log_is_kept(job: GenerationJob, tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match=r"signal 9 .*memory[\s\S]*last words"):
        generate([job], advance=no_progress, python=engine(tmp_path, "echo last words >&2; kill -9 $$"))
    assert "last words" in (Path(job.output) / "engine.log").read_text()


def test_a_killed_worker_is_named(job: GenerationJob, tmp_path: Path) -> None:
    """vLLM ends the engine with status 1 then, which says less than the worker's signal."""
    died = "ERROR [executor.py:1] Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting"
    with pytest.raises(RetryableError, match=r"a worker of the engine ended by signal 9 .*memory"):
        generate([job], advance=no_progress, python=engine(tmp_path, f"echo '{died}'; exit 1"))


def test_an_engine_without_result_is_an_error(job: GenerationJob, tmp_path: Path) -> None:
    """Exit status 0 alone proves nothing."""
    with pytest.raises(RetryableError, match="exit status 0"):
        generate([job], advance=no_progress, python=engine(tmp_path, "exit 0"))


def test_engines_get_their_gpus(job: GenerationJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups of two, and never more engines than batches."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5")
    (tmp_path / "instructions.json").write_text(json.dumps([{"instruction": "Hi"}] * 5))
    settings = GenerationSettings(tensor_parallel_size=2, batch_size=3)
    with pytest.raises(RetryableError):
        generate(
            [job.model_copy(update={"settings": settings})],
            advance=no_progress,
            python=engine(tmp_path, "env"),
        )
    logs = sorted(Path(job.output).glob("engine*.log"))
    assert [path.name for path in logs] == ["engine.1.log", "engine.log"]
    for path, gpus in zip(logs, ("2,3", "0,1"), strict=True):
        assert f"CUDA_VISIBLE_DEVICES={gpus}\n" in path.read_text()


def test_missing_interpreter(job: GenerationJob) -> None:
    with pytest.raises(InputError, match="/no/such/python"):
        generate([job], advance=no_progress, python="/no/such/python")


def test_two_jobs_in_one_folder_are_refused(job: GenerationJob) -> None:
    with pytest.raises(InputError, match="same output folder"):
        generate([job, job.model_copy(update={"generator": "other"})], advance=no_progress)


def test_environment_without_secrets(
    job: GenerationJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that comes with a checkpoint must not find tokens; the user's own variables win."""
    monkeypatch.setenv("HF_TOKEN", "hf_hidden")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-hidden")
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    with pytest.raises(RetryableError):
        generate([job], advance=no_progress, python=engine(tmp_path, "env"))
    log = (Path(job.output) / "engine.log").read_text().splitlines()
    assert not [line for line in log if "hidden" in line]
    assert {"HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=0", "DO_NOT_TRACK=1"} <= set(log)


def test_cancelling_ends_the_engine_and_its_children(
    job: GenerationJob, light_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in the caller (Ctrl-C, a cancelled run) may leave no process behind."""
    monkeypatch.setattr(launch, "ENGINE", endless_engine.__name__)

    def cancel(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate([job], advance=cancel)
    for name in (endless_engine.CHILD, endless_engine.ENGINE):
        assert ended(int((Path(job.output) / name).read_text()))


def ended(pid: int) -> bool:
    """Whether a process ends within ten seconds (one that is gone already has)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    readable = select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
    return bool(readable)


def test_fingerprint_follows_what_decides_the_answers(job: GenerationJob, tmp_path: Path) -> None:
    before = job_fingerprint(job)
    elsewhere = job.model_copy(update={"output": str(tmp_path / "other")})
    hotter = job.model_copy(update={"settings": GenerationSettings(sampling=Sampling(temperature=1))})
    assert job_fingerprint(elsewhere) == before
    assert job_fingerprint(hotter) != before
    (tmp_path / "instructions.json").write_text(json.dumps([{"instruction": "Ho"}]))
    assert job_fingerprint(job) != before
    between = job_fingerprint(job)
    (tmp_path / "model" / "config.json").write_text('{"a": 1}')
    assert job_fingerprint(job) != between


def test_the_engine_needs_little_beside_vllm() -> None:
    """Another environment runs it, which has neither Prefect nor the rest of this project."""
    script = "import sys, tasks.generation.fork_server; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = {"prefect", "fsspec", "huggingface_hub", "transformers", "torch", "numpy", "vllm", "jinja2"}
    assert "pydantic" in output.split()
    assert not heavy & set(output.split())
