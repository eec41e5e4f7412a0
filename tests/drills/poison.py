"""Shards for a Dask cluster that must not do their work: importable where the workers are."""

import os
import signal

from tasks.runtime.stage import stage

__all__ = ["deadly", "easy"]


@stage("deadly", retries=0)
def deadly(jobs: tuple[tuple[str], ...], store: str, inputs: str) -> tuple[tuple[str], ...]:
    """Kills its worker when its name says so."""
    if jobs[0][0] == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return jobs


@stage("easy", retries=0)
def easy(jobs: tuple[tuple[str], ...], store: str, inputs: str) -> tuple[str, ...]:
    """Gives back what it got, and says where it ran."""
    return (f"{jobs[0][0]} in {os.getpid()}",)
