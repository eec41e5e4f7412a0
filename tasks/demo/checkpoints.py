"""The embedded default family: trained on the spot once, then kept in the user's cache.

    $EXPO_CACHE or ~/.cache/expo
      demo/<fingerprint>/
        sft/ aligned/         two checkpoints as transformers saves them, in several shards
        instructions.json     the evaluation's instructions with the SFT model's own answers
        alphas.json           others, held out for the choice of α
        manifest.json         written last: without it there is no family

The fingerprint covers the settings, the source of the training and the libraries' versions.
"""

import hashlib
import json
import logging
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from tasks.core.values import Value, fingerprint
from tasks.demo.student import Pair
from tasks.demo.training import Advance, Training, train
from tasks.stores.disk import cache_folder, remove_tree

__all__ = ["DemoFamily", "is_trained", "prepare"]

MANIFEST = "manifest.json"
GENERATOR = "demo-sft"
LOG_SECONDS = 3.0
CODE = ("notes.py", "rule.py", "student.py", "training.py")
LIBRARIES = ("tokenizers", "torch", "transformers")

log = logging.getLogger("expo")


class DemoFamily(Value):
    """Where the trained pair and its instructions lie on this machine.

    instructions, alphas  AlpacaEval's form: a JSON list of {instruction, output, generator, dataset};
                          the outputs are the SFT model's
    """

    sft: Path
    aligned: Path
    instructions: Path
    alphas: Path


def is_trained() -> bool:
    """Whether the cache has the pair."""
    return (cache_folder() / "demo" / _fingerprint(Training())[:16] / MANIFEST).is_file()


def prepare(advance: Advance | None = None, training: Training | None = None) -> DemoFamily:
    """The trained family, from the cache or trained now (about 45 s on one core).

    Two processes train once: the second waits for the first. A training that was killed
    leaves nothing that the next call would take for whole.
    """
    from filelock import FileLock

    training = training or Training()
    name = _fingerprint(training)[:16]
    cache = cache_folder() / "demo"
    folder = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if not (folder / MANIFEST).is_file():
            _train_into(folder, training, advance or _Progress())
    return _family(folder)


def _train_into(folder: Path, training: Training, advance: Advance) -> None:
    """Under another name until all is written; only the holder of the lock comes here."""
    log.info("demo  training the pair of checkpoints, once: %s", folder)
    for left_over in [*folder.parent.glob(f".{folder.name}-*"), folder]:
        remove_tree(left_over, cache_folder())
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    trained = train(part, training, advance)
    family = _family(part)
    _write_benchmark(family.instructions, trained.evaluation)
    _write_benchmark(family.alphas, trained.alphas)
    _write_json(part / MANIFEST, training.model_dump(mode="json"))
    part.rename(folder)


def _family(folder: Path) -> DemoFamily:
    return DemoFamily(
        sft=folder / "sft",
        aligned=folder / "aligned",
        instructions=folder / "instructions.json",
        alphas=folder / "alphas.json",
    )


def _fingerprint(training: Training) -> str:
    here = Path(__file__).parent
    code = {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in CODE}
    return fingerprint(training, code, {name: version(name) for name in LIBRARIES})


def _write_benchmark(path: Path, pairs: tuple[Pair, ...]) -> None:
    outputs = [
        {"instruction": ask, "output": answer, "generator": GENERATOR, "dataset": "demo"}
        for ask, answer in pairs
    ]
    _write_json(path, outputs)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


class _Progress:
    """Logs every few seconds how far the training is, with the time that this part of it has left."""

    def __init__(self) -> None:
        self._what = ""
        self._started = self._called = self._logged = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._called:  # what came before the first step was imports: no measure of a step
            self._called = self._logged = now
        if what != self._what:  # this part began when the one before it ended
            self._what, self._started = what, self._called
        self._called = now
        if done < total and now - self._logged < LOG_SECONDS:
            return
        self._logged = now
        left = (now - self._started) / done * (total - done)
        log.info("demo  %s %d/%d, %.0f s left", what, done, total, left)
