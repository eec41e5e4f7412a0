"""GPUs in groups: one engine each, and never a GPU that this process may not see."""

from pathlib import Path

import pytest

from tasks.generation import devices


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv(devices.VISIBLE, raising=False)


@pytest.mark.parametrize(
    ("visible", "size", "groups"),
    [
        (None, 1, ("0", "1", "2", "3")),
        (None, 2, ("0,1", "2,3")),
        (None, 3, ("0,1,2",)),
        (None, 8, ()),
        ("2, 3", 1, ("2", "3")),
        ("GPU-a1,GPU-b2", 2, ("GPU-a1,GPU-b2",)),
        ("", 1, ()),
        ("-1", 1, ()),
    ],
)
def test_groups(
    four: None, monkeypatch: pytest.MonkeyPatch, visible: str | None, size: int, groups: tuple[str, ...]
) -> None:
    if visible is not None:
        monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.gpu_groups(size) == groups


def test_a_machine_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    assert devices.gpu_groups(1) == ()
